//! Places in the program, as numbers of two bytes: a record has no room for more ([`Life`](crate::Life)).

use std::collections::HashMap;
use std::panic::Location;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

type Place = &'static Location<'static>;

/// All places that were ever named: as many as the program has calls written down, whatever it does.
#[derive(Default)]
struct Places {
    numbers: HashMap<Place, u16>,
    places: Vec<Place>,
}

static PLACES: LazyLock<Mutex<Places>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, Places> {
    PLACES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of a place, from 1 on; 0 for those beyond 65,535.
pub(crate) fn number_of(place: Place) -> u16 {
    let mut all = lock();
    if let Some(number) = all.numbers.get(place) {
        return *number;
    }
    let Ok(number) = u16::try_from(all.places.len() + 1) else { return 0 };
    all.places.push(place);
    all.numbers.insert(place, number);
    number
}

/// The place of a number; none for 0.
pub(crate) fn place_of(number: u16) -> Option<Place> {
    lock().places.get(usize::from(number).checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_has_one_number_and_a_number_one_place() {
        let here = || Location::caller();
        let (first, second) = (here(), Location::caller());
        let numbers = [first, second, first].map(number_of);
        assert_eq!((numbers[0], numbers[0] == numbers[1]), (numbers[2], false));
        assert_eq!(numbers.map(place_of), [Some(first), Some(second), Some(first)]);
        assert_eq!(place_of(0), None);
    }
}
