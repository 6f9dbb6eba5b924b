//! What a panic says.

use std::any::Any;

/// The text that a panic was thrown with, if it was a text: what `catch_unwind` and `JoinHandle::join` give holds it.
///
/// ```
/// let thrown = std::panic::catch_unwind(|| panic!("no {}", "luck")).unwrap_err();
/// assert_eq!(millstream_base::panic_text(&*thrown), Some("no luck"));
/// let thrown = std::panic::catch_unwind(|| std::panic::panic_any(7)).unwrap_err();
/// assert_eq!(millstream_base::panic_text(&*thrown), None);
/// ```
pub fn panic_text(thrown: &(dyn Any + Send)) -> Option<&str> {
    let text = thrown.downcast_ref::<&str>().copied();
    text.or_else(|| thrown.downcast_ref::<String>().map(String::as_str))
}
