//! A message that nobody got, and why.

use std::fmt;

use millstream_base::Error;

/// A message that comes back, and why it does. `?` makes an [`Error`] of it and drops the message.
///
/// ```
/// use millstream_flow::mailbox;
/// let (sender, mailbox) = mailbox();
/// drop(mailbox);
/// let unsent = sender.send("hello").unwrap_err();
/// assert_eq!(unsent.message, "hello");
/// assert!(unsent.error.is_cancelled());
/// ```
pub struct Unsent<T> {
    /// The message.
    pub message: T,
    /// Why nobody got it.
    pub error: Error,
}

impl<T> Unsent<T> {
    pub(crate) fn new(message: T, error: Error) -> Self {
        Self { message, error }
    }
}

impl<T> From<Unsent<T>> for Error {
    fn from(unsent: Unsent<T>) -> Self {
        unsent.error
    }
}

impl<T> std::error::Error for Unsent<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}

impl<T> fmt::Display for Unsent<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> fmt::Debug for Unsent<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unsent").field("error", &self.error).finish_non_exhaustive()
    }
}
