//! What goes wrong, when its time comes.

use super::client::Mode;
use super::scenario::Fault;
use super::violation::Violation;
use super::world::{Event, World};

impl World {
    pub(super) fn fault(&mut self, fault: Fault) -> Result<(), Violation> {
        self.trace(|| format!("fault: {fault:?}"));
        match fault {
            Fault::Cut => {
                if let Some((_, link)) = self.any_open() {
                    self.cut(link);
                }
            }
            Fault::Stall => {
                if let Some((_, link)) = self.any_open() {
                    let for_ms = self.rng.between(200, 8_000);
                    self.links[link].stalled_until_ms = self.now_ms() + for_ms;
                }
            }
            Fault::Offline => {
                if let Some((client, _)) = self.any_open() {
                    let in_order = self.rng.percent(40);
                    let for_ms = self.rng.between(100, 15_000);
                    self.go_offline(client, in_order, for_ms);
                }
            }
            Fault::Leave => {
                if let Some((client, _)) = self.any_open() {
                    let says_goodbye = self.rng.percent(60);
                    self.leave(client, says_goodbye);
                }
            }
            Fault::Join => self.add_client(0),
            Fault::Crash => {
                self.crash();
                return self.check_store();
            }
            Fault::CrashBehind => {
                let for_ms = self.rng.between(50, 1_500);
                self.store.failing_until_ms = self.now_ms() + for_ms + 1;
                self.queue.after(for_ms, Event::Fault(Fault::Crash));
            }
            Fault::ActorDies => self.node.dies = self.node.is_ready(),
            Fault::StoreFails => {
                let for_ms = self.rng.between(100, 6_000);
                self.store.failing_until_ms = self.now_ms() + for_ms;
            }
            Fault::StoreSlows => {
                let for_ms = self.rng.between(500, 8_000);
                self.store.slow_until_ms = self.now_ms() + for_ms;
            }
            Fault::Compact => return self.store.compact(&mut self.rng),
            Fault::Delete => self.begin_delete(),
        }
        Ok(())
    }

    /// A client that is connected, and its link.
    fn any_open(&mut self) -> Option<(usize, usize)> {
        let open: Vec<_> = self
            .clients
            .iter()
            .filter_map(|client| match client.mode {
                Mode::Open(link) => Some((client.name, link)),
                Mode::Offline | Mode::Waiting | Mode::Gone => None,
            })
            .collect();
        (!open.is_empty()).then(|| *self.rng.pick(&open))
    }
}
