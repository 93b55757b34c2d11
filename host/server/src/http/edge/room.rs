//! How many connections there is room for: the limit on open files, less what else needs files. Not
//! for what happens at the bound (`table`).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::table::EXTRA;

/// Most connections if nothing is said and files allow more: each may hold a head and a request.
const USUAL: usize = 10_000;
/// Files of the process itself: code, sockets of the log and the runtime, files that are read now
/// and then.
const OWN: usize = 32;
/// Fewer would be of no use, whatever else runs short.
const LEAST: usize = 16;

/// Why there is not as much room as was asked for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "ORDAIN_MAX_CONNECTIONS is {wanted}, but the limit on open files ({limit}) leaves room for {room}: \
     raise it (ulimit -n, LimitNOFILE= of systemd), or leave the option out"
)]
pub struct NoRoom {
    wanted: usize,
    limit: usize,
    room: usize,
}

/// Raises the limit on open files as far as this process may, and says how many connections are to
/// be taken. `servers`: connections that this instance itself may open.
pub fn room(wanted: Option<usize>, servers: usize) -> Result<usize, NoRoom> {
    let limit = raise();
    let room = within(limit, servers);
    match wanted {
        Some(wanted) if wanted > room => Err(NoRoom {
            wanted,
            limit,
            room,
        }),
        Some(wanted) => Ok(wanted),
        None => {
            if room <= LEAST {
                tracing::warn!(
                    limit,
                    "the limit on open files is too low: raise it (ulimit -n, LimitNOFILE= of systemd)"
                );
            }
            Ok(room.min(USUAL))
        }
    }
}

fn within(limit: usize, servers: usize) -> usize {
    limit.saturating_sub(OWN + EXTRA + servers).max(LEAST)
}

fn raise() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    // Some systems take no limit that is endless; then what was there stays.
    let limit = match current == maximum || setrlimit(Resource::Nofile, raised).is_ok() {
        true => maximum,
        false => current,
    };
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_and_files_need_is_left() {
        assert_eq!(within(1024, 40), 1024 - 40 - OWN - EXTRA);
        assert_eq!(within(64, 40), LEAST);
        assert!(within(usize::MAX, 0) > USUAL);
        let error = room(Some(usize::MAX), 0).expect_err("too many");
        assert!(error.to_string().contains("ulimit -n"), "{error}");
        assert_eq!(room(Some(7), 0), Ok(7));
    }
}
