//! A cell without an actor: when it may leave memory.

use super::super::held::HeldBytes;
use super::*;

fn cell() -> DocumentCell {
    let name = DocumentName::new("a").expect("a name");
    DocumentCell::new(name, Arc::new(Placement::start(1)), 1 << 10, 0)
}

#[test]
fn a_cell_leaves_memory_only_when_nothing_is_done_waits_or_is_held() {
    actix::System::new().block_on(async {
        let cell = cell();
        cell.next_generation();
        cell.busy_since_ms.store(7, Ordering::Release);
        assert!(!cell.close_if_idle(), "its actor is at work");
        cell.busy_since_ms.store(0, Ordering::Release);
        cell.look_again();
        assert!(!cell.close_if_idle(), "something waits");
        cell.inbox.clear();
        let held = HeldBytes::new(1 << 10).keep(Default::default(), Vec::new());
        cell.keep_held(held.map(Arc::new));
        assert!(!cell.close_if_idle(), "something is held");
        cell.keep_held(None);
        cell.note_refused(cell.generation(), Refused::Failed);
        assert!(!cell.close_if_idle(), "a refusal was not heard of");
        cell.next_generation();
        assert!(cell.close_if_idle());
        assert!(cell.close_if_idle(), "and stays closed");
    });
}
