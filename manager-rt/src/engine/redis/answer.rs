//! The answers of scripts.
//!
//! The first item of the array is a number. From 0 on it says which [`Reply`] follows, and below 0 which [`Fault`].

use std::time::Duration;

use redis::Value as Item;

use crate::backend::CallError;
use crate::engine::stored::loaded;
use crate::proto::{Answer, Fault, Info, Kind, ObjectId, Payload, Reply};
use crate::report::ObjectReport;

/// The kinds of objects, by the numbers under which their heads are stored. The numbers never change.
const KINDS: [Kind; 14] = [
    Kind::List,
    Kind::Dict,
    Kind::Namespace,
    Kind::Value,
    Kind::Array,
    Kind::Lock,
    Kind::RLock,
    Kind::Semaphore,
    Kind::BoundedSemaphore,
    Kind::Condition,
    Kind::Event,
    Kind::Queue,
    Kind::JoinableQueue,
    Kind::Barrier,
];

/// Returns the number of a kind, from 1 on.
pub(super) fn number_of(kind: Kind) -> usize {
    KINDS.iter().position(|known| *known == kind).map_or(0, |at| at.saturating_add(1))
}

fn kind_of(number: u64) -> Result<Kind, CallError> {
    let at = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    at.and_then(|at| KINDS.get(at)).copied().ok_or(CallError::Protocol)
}

/// The items of an answer that were not read yet.
struct Items(std::vec::IntoIter<Item>);

impl Items {
    fn next(&mut self) -> Result<Item, CallError> {
        self.0.next().ok_or(CallError::Protocol)
    }

    fn number(&mut self) -> Result<i64, CallError> {
        match self.next()? {
            Item::Int(number) => Ok(number),
            _ => Err(CallError::Protocol),
        }
    }

    /// A number that may be a text: that of a hash, or one above 2^53, which Lua does not have.
    fn count(&mut self) -> Result<u64, CallError> {
        match self.next()? {
            Item::Int(number) => u64::try_from(number).map_err(|_| CallError::Protocol),
            Item::BulkString(text) => {
                let text = std::str::from_utf8(&text).map_err(|_| CallError::Protocol)?;
                text.parse().map_err(|_| CallError::Protocol)
            }
            _ => Err(CallError::Protocol),
        }
    }

    /// A number, or `None` for -1.
    fn optional(&mut self) -> Result<Option<u64>, CallError> {
        Ok(u64::try_from(self.number()?).ok())
    }

    /// A token, whether the owner before died, and whether a wait for a notification timed out.
    fn granted(&mut self) -> Result<(u64, bool, bool), CallError> {
        Ok((self.count()?, self.number()? != 0, self.number()? != 0))
    }

    fn bytes(&mut self) -> Result<Vec<u8>, CallError> {
        match self.next()? {
            Item::BulkString(bytes) => Ok(bytes),
            _ => Err(CallError::Protocol),
        }
    }

    fn value(&mut self) -> Result<Payload, CallError> {
        loaded(self.bytes()?)
    }

    fn value_if_any(&mut self) -> Result<Option<Payload>, CallError> {
        if self.0.len() == 0 { Ok(None) } else { self.value().map(Some) }
    }

    fn values(&mut self) -> Result<Vec<Payload>, CallError> {
        (0..self.0.len()).map(|_| self.value()).collect()
    }

    fn entries(&mut self) -> Result<Vec<(Payload, Payload)>, CallError> {
        (0..self.0.len() / 2).map(|_| Ok((self.value()?, self.value()?))).collect()
    }

    fn text(&mut self) -> Result<String, CallError> {
        String::from_utf8(self.bytes()?).map_err(|_| CallError::Protocol)
    }

    fn object(&mut self) -> Result<ObjectReport, CallError> {
        let (id, kind) = (ObjectId(self.count()?), kind_of(self.count()?)?);
        let print = u64::from_str_radix(&self.text()?, 16).map_err(|_| CallError::Protocol)?;
        let name = Some(self.text()?).filter(|name| !name.is_empty());
        Ok(ObjectReport {
            id,
            kind,
            print,
            name,
            len: self.optional()?,
            bytes: self.count()?,
            // Redis looks at some of the values.
            is_estimate: true,
            references: 0,
            waiters: self.count()?,
            held: self.count()?,
            holder: None,
        })
    }

    fn objects(&mut self) -> Result<Vec<ObjectReport>, CallError> {
        let mut objects = Vec::new();
        while self.0.len() > 0 {
            objects.push(self.object()?);
        }
        Ok(objects)
    }

    fn names(&mut self) -> Result<Vec<String>, CallError> {
        let name = |bytes| String::from_utf8(bytes).map_err(|_| CallError::Protocol);
        (0..self.0.len()).map(|_| self.bytes().and_then(name)).collect()
    }
}

/// Decodes the answer of a script.
///
/// # Errors
/// [`CallError::Protocol`] if it is none.
pub(super) fn answer_of(item: Item) -> Result<Answer<Payload>, CallError> {
    let items = match item {
        Item::Array(items) => items,
        // The ordinary case of some operations has nothing else to say.
        Item::Int(_) => vec![item],
        Item::BulkString(bytes) => return short_answer(bytes).map(Ok),
        _ => return Err(CallError::Protocol),
    };
    let mut items = Items(items.into_iter());
    let number = items.number()?;
    if number < 0 { fault_of(number, &mut items).map(Err) } else { reply_of(number, &mut items).map(Ok) }
}

/// The lease of a task whose number is that of the call.
pub(super) const LEASE_OF_CALL: u64 = 0;

/// Decodes what an ordinary case has given: the token of a lock, a task after the number of its deliveries before, or an item.
fn short_answer(mut bytes: Vec<u8>) -> Result<Reply<Payload>, CallError> {
    // No stored value begins like this.
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return loaded(bytes).map(Reply::Value);
    }
    let number = bytes.get(..digits).and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u64>().ok());
    let number = number.ok_or(CallError::Protocol)?;
    match bytes.get(digits) {
        None => Ok(Reply::Granted { token: number, owner_died: false, timed_out: false }),
        Some(b':') => {
            let deliveries = u32::try_from(number.saturating_add(1)).map_err(|_| CallError::Protocol)?;
            let task = loaded(bytes.split_off(digits.saturating_add(1)))?;
            Ok(Reply::Leased { lease: LEASE_OF_CALL, deliveries, task })
        }
        Some(_) => Err(CallError::Protocol),
    }
}

/// The outcome of a call that may have to wait.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    Answer(Answer<Payload>),
    /// The call is in the line of its object.
    Parked {
        /// When the call asks again, unless it has its answer by then.
        again: Duration,
        /// What it tells the object then.
        mark: Option<u64>,
    },
    /// The session of the call has ended, and with it what the call was given.
    SessionLost,
    /// The session of the call has ended. What the call may have done stays done.
    Unknown,
}

/// Decodes the answer of a script of a call that may have to wait.
///
/// # Errors
/// [`CallError::Protocol`] if it is none.
pub(super) fn outcome_of(item: Item) -> Result<Outcome, CallError> {
    let Item::Array(items) = item else { return answer_of(item).map(Outcome::Answer) };
    match items.first() {
        Some(Item::Int(PARKED)) => {
            let mut items = Items(items.into_iter());
            items.number()?;
            let again = Duration::from_micros(items.count()?);
            let mark = if items.0.len() == 0 { None } else { Some(items.count()?) };
            Ok(Outcome::Parked { again, mark })
        }
        Some(Item::Int(SESSION_LOST)) => Ok(Outcome::SessionLost),
        Some(Item::Int(UNKNOWN)) => Ok(Outcome::Unknown),
        _ => answer_of(Item::Array(items)).map(Outcome::Answer),
    }
}

/// Decodes the answer that another call has put into the list of a call that waits: numbers with spaces between them.
///
/// # Errors
/// [`CallError::Protocol`] if it is none.
pub(super) fn outcome_in(text: &[u8]) -> Result<Outcome, CallError> {
    let text = std::str::from_utf8(text).map_err(|_| CallError::Protocol)?;
    let numbers: Result<_, _> = text.split(' ').map(|word| word.parse().map(Item::Int)).collect();
    outcome_of(Item::Array(numbers.map_err(|_| CallError::Protocol)?))
}

/// The number of the answer to a call that is in the line now.
const PARKED: i64 = 17;
/// The number of the answer to a call whose session has ended.
const SESSION_LOST: i64 = -22;
/// The same, if the call may have done something that stays done.
const UNKNOWN: i64 = -30;

fn reply_of(number: i64, items: &mut Items) -> Result<Reply<Payload>, CallError> {
    Ok(match number {
        0 => Reply::Done,
        1 => Reply::Bool(items.number()? != 0),
        2 => Reply::Count(items.count()?),
        3 => Reply::Len { len: items.count()?, version: items.count()? },
        4 => Reply::Value(items.value()?),
        5 => Reply::Option(items.value_if_any()?),
        6 => Reply::Found(items.value_if_any()?),
        7 => Reply::Before(items.value()?),
        8 => Reply::Values { version: items.count()?, values: items.values()? },
        9 => Reply::Entry(items.entries()?.pop()),
        10 => Reply::Entries { place: items.count()?, entries: items.entries()? },
        11 => Reply::Object { id: ObjectId(items.count()?), created: items.number()? != 0 },
        12 => Reply::Names(items.names()?),
        13 => Reply::Scanned { found: items.optional()?, next: items.optional()?, version: items.count()? },
        14 => {
            Reply::Info(Info::new().objects(items.count()?).waiters(items.count()?).clients(items.count()?))
        }
        15 => {
            let (token, owner_died, timed_out) = items.granted()?;
            Reply::Granted { token, owner_died, timed_out }
        }
        16 => {
            let (token, owner_died, timed_out) = items.granted()?;
            Reply::GrantedLease { token, owner_died, timed_out, waited: items.count()? }
        }
        18 => {
            let (lease, deliveries) = (items.count()?, items.count()?);
            let deliveries = u32::try_from(deliveries).map_err(|_| CallError::Protocol)?;
            Reply::Leased { lease, deliveries, task: items.value()? }
        }
        19 => Reply::Acts { index: items.count()?, round: items.count()? },
        40 => {
            let next = Some(items.count()?.reverse_bits()).filter(|next| *next != 0);
            Reply::Objects { next, objects: items.objects()? }
        }
        _ => return Err(CallError::Protocol),
    })
}

fn fault_of(number: i64, items: &mut Items) -> Result<Fault, CallError> {
    Ok(match number {
        -1 => Fault::UnknownObject,
        -2 => Fault::WrongKind { found: kind_of(items.count()?)? },
        -3 => Fault::Index { len: items.count()?, index: items.count()? },
        -4 => Fault::Empty,
        -5 => Fault::Changed,
        -6 => Fault::NoNumber,
        -7 => Fault::Exists,
        -8 => Fault::NotFound,
        -9 => Fault::WrongType,
        -10 => Fault::TooMany { limit: items.count()? },
        -11 => Fault::Malformed,
        -12 => Fault::UnknownName,
        -20 => Fault::WouldBlock,
        -21 => Fault::Deadlock,
        -23 => Fault::NotOwned,
        -24 => Fault::OverReleased,
        -25 => Fault::TimedOut,
        -26 => Fault::Closed,
        -27 => Fault::Broken,
        -28 => Fault::OutOfRange { least: 0, most: items.count()? },
        -29 => Fault::Full,
        _ => return Err(CallError::Protocol),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &[u8]) -> Item {
        Item::BulkString(text.to_vec())
    }

    #[test]
    fn answers_and_refusals_are_told_apart() {
        let one = Payload::copy(crate::proto::Raw::plain(b"x"));
        for (items, expected) in [
            (vec![Item::Int(0)], Ok(Reply::Done)),
            (vec![Item::Int(5)], Ok(Reply::Option(None))),
            (vec![Item::Int(4), text(b"\0x")], Ok(Reply::Value(one.clone()))),
            (vec![Item::Int(9), text(b"\0x"), text(b"\0x")], Ok(Reply::Entry(Some((one.clone(), one))))),
            (
                vec![Item::Int(13), Item::Int(-1), Item::Int(7), text(b"3")],
                Ok(Reply::Scanned { found: None, next: Some(7), version: 3 }),
            ),
            (vec![Item::Int(-2), Item::Int(2)], Err(Fault::WrongKind { found: Kind::Dict })),
            (vec![Item::Int(-3), Item::Int(4), text(b"9")], Err(Fault::Index { index: 9, len: 4 })),
        ] {
            if let [number] = &items[..] {
                assert_eq!(answer_of(number.clone()), Ok(expected.clone()));
            }
            assert_eq!(answer_of(Item::Array(items)), Ok(expected));
        }
        let token = Reply::Granted { token: 1_796_031_923_835_634, owner_died: false, timed_out: false };
        assert_eq!(answer_of(text(b"1796031923835634")), Ok(Ok(token)));
        let task = Payload::copy(crate::proto::Raw::plain(b":7"));
        let leased = Reply::Leased { lease: LEASE_OF_CALL, deliveries: 3, task };
        assert_eq!(answer_of(text(b"2:\0:7")), Ok(Ok(leased)));
    }

    #[test]
    fn what_no_script_answers_is_an_error() {
        let items = [
            Item::Nil,
            Item::Int(99),
            text(b""),
            text(b"-1"),
            text(b"1x"),
            text(b"1:"),
            text(b"99999999999999999999"),
            Item::Array(vec![]),
            Item::Array(vec![Item::Int(99)]),
            Item::Array(vec![Item::Int(-99)]),
            Item::Array(vec![Item::Int(4)]),
            Item::Array(vec![Item::Int(-2), Item::Int(15)]),
            Item::Array(vec![Item::Int(12), text(b"\xff")]),
        ];
        for item in items {
            assert_eq!(answer_of(item), Err(CallError::Protocol));
        }
    }

    #[test]
    fn answers_to_calls_that_wait() {
        let granted = Reply::Granted { token: 1_796_031_923_835_634, owner_died: true, timed_out: false };
        for (text, expected) in [
            ("15 1796031923835634 1 0", Outcome::Answer(Ok(granted))),
            ("17 1500", Outcome::Parked { again: Duration::from_micros(1500), mark: None }),
            ("17 0 3", Outcome::Parked { again: Duration::ZERO, mark: Some(3) }),
            ("-22", Outcome::SessionLost),
            ("-25", Outcome::Answer(Err(Fault::TimedOut))),
            ("-28 7", Outcome::Answer(Err(Fault::OutOfRange { least: 0, most: 7 }))),
        ] {
            assert_eq!(outcome_in(text.as_bytes()), Ok(expected));
        }
        for text in ["", "x", "17", "17 -1", "15 1"] {
            assert_eq!(outcome_in(text.as_bytes()), Err(CallError::Protocol), "{text}");
        }
    }

    #[test]
    fn every_kind_has_a_number() {
        for kind in crate::Kinds::ALL.iter() {
            let number = u64::try_from(number_of(kind)).unwrap();
            assert_eq!(kind_of(number), Ok(kind));
        }
        assert!(kind_of(0).is_err());
    }
}
