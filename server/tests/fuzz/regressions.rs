//! What sequences have found, each as short as it can be.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use driftless::auth::Right;
use driftless_proto::name::DocumentName;

use crate::honest::Honest;
use crate::house::House;
use crate::ledger::Ledger;
use crate::run::in_system;
use crate::support::random::Random;
use crate::token;

/// A few looks of the supervisor, which comes twice a second.
const LOOKS: Duration = Duration::from_millis(2_500);

/// An actor that was to be replaced, with what it had to try again, was taken for one that had got
/// lost when the supervisor looked in between, and replaced without.
#[test]
fn the_supervisor_leaves_arranged_replacements_alone() {
    in_system(async {
        let house = House::open().await;
        let ledger = Rc::<RefCell<Ledger>>::default();
        let mut random = Random::new(1);
        let key = token::for_all(&["a".to_owned()], Right::Write);
        let mut honest = Honest::join(&house, &ledger, &mut random, &key, "a").await;
        honest.until_saved().await.unwrap();
        let document = DocumentName::new("a").unwrap();
        let by = Instant::now() + LOOKS;
        while Instant::now() < by {
            house.reload(&document).await.unwrap();
        }
        honest.write("still here").await.unwrap();
        honest.until_saved().await.unwrap();
        assert_eq!(house.troubles(), Vec::<String>::new());
    });
}
