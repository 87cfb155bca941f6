//! Looks a mirror's name up once for all connections, and asks again early: an answer that was lost on its way costs a quarter of a
//! second, and not the five that the system's own resolver waits. With eight connections and a hundred packages that happens.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// How long an answer is good.
const GOOD_FOR: Duration = Duration::from_mins(5);
/// After how long without an answer the same is asked once more, besides; doubled each time.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long an answer is waited for at most.
const LIMIT: Duration = Duration::from_secs(30);
/// More addresses than that are not tried.
const MOST_ADDRESSES: usize = 16;

/// What is known of one name; locked while it is asked for.
type Answer = Arc<Mutex<Option<(Instant, Vec<SocketAddr>)>>>;

/// The names that were looked up.
#[derive(Debug, Default)]
pub(crate) struct SharedResolver {
    known: Mutex<BTreeMap<String, Answer>>,
}

impl Resolver for SharedResolver {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let bad = || ureq::Error::BadUri("no scheme or no host".to_owned());
        let (scheme, authority) = (uri.scheme().ok_or_else(bad)?, uri.authority().ok_or_else(bad)?);
        let name = DefaultResolver::host_and_port(scheme, authority).ok_or_else(bad)?;
        let limit = LIMIT.min(*timeout.after);
        let addresses = self.addresses(&name, &|| {
            let asked = name.clone();
            ask(move || Ok(asked.to_socket_addrs()?.collect()), limit)
        })?;
        let mut found = self.empty();
        config.ip_family().keep_wanted(addresses.into_iter()).take(MOST_ADDRESSES).for_each(|one| found.push(one));
        if found.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(found) }
    }
}

impl SharedResolver {
    /// The addresses of a name; whoever asks for the same name meanwhile waits for the one answer.
    fn addresses(&self, name: &str, ask: &dyn Fn() -> io::Result<Vec<SocketAddr>>) -> io::Result<Vec<SocketAddr>> {
        let answer = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(known.entry(name.to_owned()).or_default())
        };
        let mut answer = answer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, addresses)) = answer.as_ref()
            && when.elapsed() < GOOD_FOR
        {
            return Ok(addresses.clone());
        }
        let addresses = ask()?;
        *answer = Some((Instant::now(), addresses.clone()));
        Ok(addresses)
    }
}

/// Asks, and asks again besides where no answer comes; the first answer counts, a refusal only where nobody is still waited for.
fn ask<T: Send + 'static>(
    question: impl Fn() -> io::Result<T> + Clone + Send + 'static,
    limit: Duration,
) -> io::Result<T> {
    let (sender, receiver) = channel();
    let (started, mut patience, mut waiting) = (Instant::now(), PATIENCE, 0);
    loop {
        let (question, sender) = (question.clone(), sender.clone());
        // Not waited for at the end: it answers into the void.
        std::thread::spawn(move || sender.send(question()));
        waiting += 1;
        loop {
            let left = limit.saturating_sub(started.elapsed());
            match receiver.recv_timeout(patience.min(left)) {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) if waiting == 1 => return Err(error),
                Ok(Err(_)) => waiting -= 1,
                Err(RecvTimeoutError::Timeout) if started.elapsed() < limit => break,
                Err(_) => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody answers what address the name has"));
                }
            }
        }
        patience *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_lost_answer_is_asked_for_again_and_a_refusal_is_heard_at_once() {
        let count = Arc::new(AtomicUsize::new(0));
        let question = {
            let count = Arc::clone(&count);
            move || {
                if count.fetch_add(1, Ordering::SeqCst) == 0 {
                    std::thread::sleep(Duration::from_secs(5));
                }
                Ok(7)
            }
        };
        let started = Instant::now();
        assert_eq!(ask(question, LIMIT).unwrap(), 7);
        assert!(started.elapsed() < Duration::from_secs(2) && count.load(Ordering::SeqCst) == 2);
        let refused = || Err::<u8, _>(io::Error::other("no such name"));
        assert_eq!(ask(refused, LIMIT).unwrap_err().to_string(), "no such name");
        let silent = || {
            std::thread::sleep(Duration::from_secs(5));
            Ok(())
        };
        assert!(ask(silent, Duration::from_millis(300)).unwrap_err().to_string().starts_with("nobody answers"));
    }

    #[test]
    fn a_name_is_looked_up_once_for_all() {
        let resolver = SharedResolver::default();
        let count = AtomicUsize::new(0);
        let look_up = || {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(vec!["127.0.0.1:80".parse().unwrap()])
        };
        assert!(resolver.addresses("a:80", &|| Err(io::Error::other("later"))).is_err());
        for name in ["a:80", "a:80", "b:80"] {
            assert_eq!(resolver.addresses(name, &look_up).unwrap().len(), 1);
        }
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }
}
