//! Takes a new certificate when its files change, and keeps the old one when they are broken.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Tls;
use super::certificate::Pem;
use crate::metrics;

/// Looks at the files for as long as it is polled: again and again, and when SIGHUP comes.
pub(in crate::adapters) async fn watch(tls: Tls, look_every: Duration) {
    let mut hangup = signal(SignalKind::hangup())
        .inspect_err(|error| tracing::warn!(%error, "SIGHUP cannot be heard"))
        .ok();
    let mut watched = Watched {
        served: tls.loaded_fingerprint(),
        trouble: None,
        tls,
    };
    loop {
        let is_asked = tokio::select! {
            () = tokio::time::sleep(look_every) => false,
            () = next(&mut hangup) => true,
        };
        // Reading files blocks. Cut off, the look goes on to its end, which is near.
        let look = tokio::task::spawn_blocking(move || {
            watched.look(is_asked);
            watched
        });
        watched = match look.await {
            Ok(watched) => watched,
            Err(error) => {
                tracing::error!(%error, "the TLS files are not looked at any more");
                return;
            }
        };
    }
}

async fn next(hangup: &mut Option<Signal>) {
    if let Some(signal) = hangup
        && signal.recv().await.is_some()
    {
        return;
    }
    std::future::pending().await
}

/// What is known of the files.
struct Watched {
    tls: Tls,
    /// The content that is served with.
    served: u64,
    trouble: Option<Trouble>,
}

/// The files are not as they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Trouble {
    /// Their content, if they can be read at all.
    content: Option<u64>,
    /// A pair that is just being written looks broken as well, so only the second look complains.
    is_told: bool,
}

impl Watched {
    /// Looks once; true when the files are broken and it was said so. Whoever asks is answered, also
    /// when nothing is new.
    fn look(&mut self, is_asked: bool) -> bool {
        let read = self.tls.files().read();
        let content = read.as_ref().ok().map(Pem::fingerprint);
        if content == Some(self.served) {
            self.trouble = None;
            if is_asked {
                tracing::info!("the TLS certificate in the files is the one that is served");
            }
            return false;
        }
        match read.and_then(|pem| self.tls.files().certificate(&pem)) {
            Ok(certificate) => {
                (self.served, self.trouble) = (certificate.fingerprint, None);
                metrics::tls_reloaded("exchanged");
                self.tls.exchange(certificate);
                false
            }
            Err(error) => {
                let known = self.trouble.filter(|trouble| trouble.content == content);
                let tells = is_asked || known.is_some_and(|trouble| !trouble.is_told);
                if tells {
                    metrics::tls_reloaded("failed");
                    tracing::warn!(
                        %error,
                        "the TLS files cannot be used; the certificate of before is served on"
                    );
                }
                let is_told = tells || known.is_some();
                self.trouble = Some(Trouble { content, is_told });
                tells
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::sync::Arc;

    use super::*;
    use crate::adapters::tls::CertificateFiles;
    use crate::adapters::tls::tests::{Folder, Pair};

    fn watched(folder: &Folder) -> Watched {
        let tls = Tls::load(CertificateFiles {
            certificate: folder.certificate_path(),
            key: folder.key_path(),
        })
        .unwrap();
        Watched {
            served: tls.loaded_fingerprint(),
            trouble: None,
            tls,
        }
    }

    #[derive(Debug, PartialEq, Eq)]
    enum Seen {
        Nothing,
        Exchanged,
        Told,
    }

    fn look(watched: &mut Watched, is_asked: bool) -> Seen {
        let config = watched.tls.config();
        match watched.look(is_asked) {
            true => Seen::Told,
            false if Arc::ptr_eq(&config, &watched.tls.config()) => Seen::Nothing,
            false => Seen::Exchanged,
        }
    }

    #[test]
    fn a_new_pair_is_taken_at_once_and_only_once() {
        let folder = Folder::holding(&Pair::new("a.example"));
        let mut watched = watched(&folder);
        assert_eq!(look(&mut watched, false), Seen::Nothing);
        assert_eq!(look(&mut watched, true), Seen::Nothing);
        folder.write(&Pair::new("b.example"));
        assert_eq!(look(&mut watched, false), Seen::Exchanged);
        assert_eq!(look(&mut watched, false), Seen::Nothing);
    }

    #[test]
    fn broken_files_are_told_of_once_when_they_stay_so() {
        let (first, second) = (Pair::new("a.example"), Pair::new("b.example"));
        let folder = Folder::holding(&first);
        let mut watched = watched(&folder);

        // Half of a pair, as it is between two writes.
        folder.write_certificate(&second);
        assert_eq!(look(&mut watched, false), Seen::Nothing);
        folder.write_key(&second);
        assert_eq!(look(&mut watched, false), Seen::Exchanged);

        folder.write_certificate(&first);
        assert_eq!(look(&mut watched, false), Seen::Nothing);
        assert_eq!(look(&mut watched, false), Seen::Told);
        assert_eq!(look(&mut watched, false), Seen::Nothing);

        // Another trouble, for somebody who asks.
        fs::remove_file(folder.key_path()).unwrap();
        assert_eq!(look(&mut watched, true), Seen::Told);
        assert_eq!(look(&mut watched, false), Seen::Nothing);
        assert_eq!(look(&mut watched, true), Seen::Told);

        // Back to what is served: nothing to exchange, and the next trouble is a new one.
        folder.write(&second);
        assert_eq!(look(&mut watched, false), Seen::Nothing);
        folder.write_key(&first);
        assert_eq!(look(&mut watched, false), Seen::Nothing);
        assert_eq!(look(&mut watched, false), Seen::Told);
        folder.write(&first);
        assert_eq!(look(&mut watched, false), Seen::Exchanged);
    }
}
