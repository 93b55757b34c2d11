//! The rules that can be taken out of the protocol, one at a time, to see the model fail. Each says
//! what is done instead. What breaks then, and where, is in `removals.rs`.

/// A rule of the protocol; its number comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// O1: else a position that was lost is given out again.
    NewPositions,
    /// O5: else the origin may be read from a replica that lags.
    PrimaryReads,
    /// O5: else the record is read first, the head of the log by a later statement.
    RowWithHead,
    /// O5: else the head of the log is read first, the record by a later statement.
    HeadWithRow,
    /// F2, F6: else a start takes the rows that a pruned log still has for the whole log.
    PrunedStart,
    /// F3, F6: else a host that knew the log as empty takes what it sees next for the whole log.
    PrunedEmpty,
    /// F3: else the first row of a reply need not be the watermark's.
    WatermarkRow,
    /// F3: else the proof counts from the receipt of the reply.
    SendTime,
    /// F3: else a reply that is not the whole rest proves as well.
    WholeReply,
    /// F3: else the log may be read from a replica that lags.
    PrimaryFeed,
    /// F3, F2: else only the watermark ends a fence.
    FenceDropped,
    /// F4: else the watermark rises before the key leaves near.
    RemoveFirst,
    /// F4: else a purge row touches no key.
    PurgeTouchesAll,
    /// V: else any value from at or below the watermark is taken.
    Test,
    /// V: else order alone counts, not that the position is in the window.
    Membership,
    /// N1: else the entry is taken first, watermark and proof later.
    ViewFirst,
    /// N3: else test and insert are two steps.
    AtomicFill,
    /// N4: else an origin reply from beyond the watermark sets no fence.
    Fence,
    /// N4: else an own write is acknowledged without a fence.
    OwnFence,
    /// N5: else a reply from below the watermark is used like any other.
    ReplyBelow,
    /// N7: else a reply may be shared however long ago it was sent for.
    JoinAge,
    /// N7: else a reply may be shared though the key is known to have changed since.
    JoinOvertaken,
    /// N7: else a reply may be shared though the window does not reach back to it.
    JoinWindow,
    /// A3: else a put may replace a value that was found after the put's own value was read.
    SeenBefore,
    /// A4: else an unusable value is never replaced by one with a lower as-of.
    Seen,
    /// A4: else a put replaces whatever is stored.
    PutIfNewer,
    /// A5: else the entry is taken first, the watermark later.
    StampFirst,
    /// A5: else the entry may be newer than the watermark that was taken before it.
    StampAsOf,
    /// R2: else a demanded revision is not compared with the watermark.
    Demand,
    /// R3: else a value of far need not pass V when it is served stale.
    StaleTest,
    /// R3: else the entry that was found before the origin was asked is served stale when the
    /// origin fails, whatever has been learnt meanwhile.
    StaleNow,
}

impl Rule {
    pub const ALL: [Rule; 31] = [
        Rule::NewPositions,
        Rule::PrimaryReads,
        Rule::RowWithHead,
        Rule::HeadWithRow,
        Rule::PrunedStart,
        Rule::PrunedEmpty,
        Rule::WatermarkRow,
        Rule::SendTime,
        Rule::WholeReply,
        Rule::PrimaryFeed,
        Rule::FenceDropped,
        Rule::RemoveFirst,
        Rule::PurgeTouchesAll,
        Rule::Test,
        Rule::Membership,
        Rule::ViewFirst,
        Rule::AtomicFill,
        Rule::Fence,
        Rule::OwnFence,
        Rule::ReplyBelow,
        Rule::JoinAge,
        Rule::JoinOvertaken,
        Rule::JoinWindow,
        Rule::SeenBefore,
        Rule::Seen,
        Rule::PutIfNewer,
        Rule::StampFirst,
        Rule::StampAsOf,
        Rule::Demand,
        Rule::StaleTest,
        Rule::StaleNow,
    ];

    /// Its number, and what it says.
    pub const fn text(self) -> &'static str {
        match self {
            Rule::NewPositions => "O1 no position is given out twice",
            Rule::PrimaryReads => "O5 the origin is read on the primary",
            Rule::RowWithHead => "O5 one statement (else row first)",
            Rule::HeadWithRow => "O5 one statement (else head first)",
            Rule::PrunedStart => "F2 a pruned log is not the whole log",
            Rule::PrunedEmpty => "F3 after an empty log rows may be gone",
            Rule::WatermarkRow => "F3 the first row is the watermark's",
            Rule::SendTime => "F3 proven counts from the sending",
            Rule::WholeReply => "F3 a full reply does not prove",
            Rule::PrimaryFeed => "F3 the log is read on the primary",
            Rule::FenceDropped => "F3 older fences are dropped",
            Rule::RemoveFirst => "F4 near before watermark",
            Rule::PurgeTouchesAll => "F4 a purge row touches every key",
            Rule::Test => "V  the window is asked",
            Rule::Membership => "V  as-of is a position of the window",
            Rule::ViewFirst => "N1 view before entry",
            Rule::AtomicFill => "N3 test and insert are one step",
            Rule::Fence => "N4 fence of a reply",
            Rule::OwnFence => "N4 fence of an own write",
            Rule::ReplyBelow => "N5 a reply from below purges",
            Rule::JoinAge => "N7 sent recently",
            Rule::JoinOvertaken => "N7 no later change known",
            Rule::JoinWindow => "N7 the window reaches back",
            Rule::SeenBefore => "A3 seen before the origin was asked",
            Rule::Seen => "A4 what was seen may be replaced",
            Rule::PutIfNewer => "A4 put if newer",
            Rule::StampFirst => "A5 watermark before entry",
            Rule::StampAsOf => "A5 as-of not above that watermark",
            Rule::Demand => "R2 the watermark meets the demand",
            Rule::StaleTest => "R3 V for stale values",
            Rule::StaleNow => "R3 what is served stale is looked up last",
        }
    }

    /// O, F, V, N, A or R.
    pub fn section(self) -> char {
        self.text().chars().next().unwrap_or(' ')
    }
}

/// The protocol, less at most one rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    removed: Option<Rule>,
}

impl Rules {
    pub const ALL: Rules = Rules { removed: None };

    pub const fn without(rule: Rule) -> Rules {
        Rules {
            removed: Some(rule),
        }
    }

    pub fn has(self, rule: Rule) -> bool {
        self.removed != Some(rule)
    }
}
