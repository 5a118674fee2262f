//! What memcached itself counted while it was recorded, beside what the recording has.

use serde::{Deserialize, Serialize};

/// memcached's counters at the beginning and at the end of a recording, of all its files
/// together. A capture whose recorder was not told to ask for them has none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerCounters {
    /// The address that was asked, over one connection for the whole recording. Its `stats`
    /// are rows of the capture too.
    pub asked: String,
    /// The recorder's end of that connection, as `client` has it; null for a unix socket.
    pub client: Option<String>,
    /// Why there is nothing to compare; null where there is.
    pub failed: Option<String>,
    /// A line for each counter.
    pub compared: Vec<Compared>,
}

/// One of memcached's counters, and the operations that make it grow.
///
/// A counter is asked for before the recording begins and after, and so at its end: how much
/// it grew in between lies in a range, which is as wide as questions take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// As `stats` calls it; `incr` and `decr` are hits and misses together.
    pub counter: String,
    /// Operations recorded that surely were counted.
    pub recorded: u64,
    /// Those of which it is not known, as of a `noreply`.
    pub open: u64,
    /// What the server counted, at least.
    pub least: u64,
    /// What it counted, at most.
    pub most: u64,
}

impl Compared {
    /// Operations by which what was recorded lies above what was counted, or below (negative);
    /// 0 where they agree.
    pub fn apart(&self) -> i64 {
        let most_recorded = self.recorded.saturating_add(self.open);
        if self.recorded > self.most {
            (self.recorded - self.most).cast_signed()
        } else if most_recorded < self.least {
            -(self.least - most_recorded).cast_signed()
        } else {
            0
        }
    }
}

impl ServerCounters {
    /// Whether what was recorded is what was counted; also where nothing could be compared.
    pub fn agrees(&self) -> bool {
        self.compared.iter().all(|compared| compared.apart() == 0)
    }

    /// What came of it, on one line for people.
    pub fn describe(&self) -> String {
        if let Some(why) = &self.failed {
            return format!("cannot be compared with its own counters: {why}");
        }
        let apart: Vec<String> = self.compared.iter().filter_map(told).collect();
        if !apart.is_empty() {
            return format!("ITS OWN COUNTERS DIFFER: {}", apart.join("; "));
        }
        let same = self.compared.iter().filter(|compared| compared.most > 0);
        let same: Vec<String> =
            same.map(|compared| format!("{} {}", compared.counter, compared.recorded)).collect();
        if same.is_empty() {
            return "its own counters did not move, and nothing that they count was recorded"
                .to_owned();
        }
        format!("its own counters agree: {}", same.join(", "))
    }
}

/// How far apart they are, if they are.
fn told(compared: &Compared) -> Option<String> {
    let Compared { counter, recorded, open, least, most } = compared;
    let how = match compared.apart() {
        0 => return None,
        more @ 1.. => format!("{more} more than it counted"),
        less => format!("{} fewer than it counted", less.unsigned_abs()),
    };
    let recorded = match open {
        0 => recorded.to_string(),
        open => format!("{recorded} to {}", recorded.saturating_add(*open)),
    };
    Some(format!("{counter} {recorded} recorded, {least} to {most} counted: {how}"))
}

#[cfg(test)]
mod tests {
    use super::{Compared, ServerCounters};

    fn compared(recorded: u64, open: u64, least: u64, most: u64) -> Compared {
        Compared { counter: "cmd_get".to_owned(), recorded, open, least, most }
    }

    #[test]
    fn ranges_that_meet_agree() {
        for (recorded, open, least, most, apart) in [
            (5, 0, 5, 5, 0),
            (5, 0, 3, 9, 0),
            (5, 3, 8, 9, 0),
            (5, 2, 8, 9, -1),
            (10, 5, 8, 9, 1),
            (0, 0, 0, 0, 0),
            (0, u64::MAX, 7, 7, 0),
        ] {
            assert_eq!(compared(recorded, open, least, most).apart(), apart);
        }
    }

    #[test]
    fn what_differs_is_said() {
        let mut counters = ServerCounters {
            asked: "127.0.0.1:11211".to_owned(),
            client: None,
            failed: None,
            compared: vec![compared(5, 0, 5, 6)],
        };
        assert_eq!(counters.describe(), "its own counters agree: cmd_get 5");
        counters.compared[0].recorded = 4;
        assert!(!counters.agrees());
        let text = "cmd_get 4 recorded, 5 to 6 counted: 1 fewer than it counted";
        assert!(counters.describe().ends_with(text), "{}", counters.describe());
        counters.failed = Some("it exited".to_owned());
        assert!(counters.describe().contains("it exited"));
    }
}
