//! Contains panics and says where they came from.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};

thread_local! {
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Makes panics silent: their place is kept for [`contain`] instead of being printed.
pub fn quieten() {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, |location| {
            let file = location.file();
            let start = file.find("yrs-").unwrap_or(0);
            format!("{}:{}", &file[start..], location.line())
        });
        PLACE.with(|kept| *kept.borrow_mut() = place);
    }));
}

/// Runs `work`; a panic becomes its place in the source.
///
/// What `work` touched must not be used again after a panic.
pub fn contain<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|_| PLACE.with(|kept| kept.take()))
}
