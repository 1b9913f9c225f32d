//! A backend that was written outside of the crate. It passes operations on to [`InProcess`], and does no more than its
//! [`Caps`] say.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use manager_rt::limits::ORDER_ITEMS_AT_ONCE;
use manager_rt::proto::{
    Answer, Call, JoinableQueueOp, Kind, ListOp, ManagerOp, ObjectId, Op, Payload, QueueOp, Raw, Reply, Step,
};
use manager_rt::{Backend, CallError, Caps, Death, InProcess, Manager, OnLost, References, Validity};

/// The most bytes that an operation takes in addition to its value.
const AROUND_BYTES: usize = 100;

/// A client of a manager in this process.
#[derive(Debug)]
pub(crate) struct Restricted {
    client: Arc<InProcess>,
    caps: Caps,
    is_dead: AtomicBool,
    dying: Mutex<Option<JoinHandle<()>>>,
}

impl Restricted {
    pub(crate) fn new(client: InProcess, caps: Caps) -> Self {
        let (is_dead, dying) = (AtomicBool::new(false), Mutex::default());
        Self { client: Arc::new(client), caps, is_dead, dying }
    }

    /// Ends the client: at once for its own process, and for others when the backend says.
    pub(crate) fn kill(&self) {
        self.is_dead.store(true, Ordering::SeqCst);
        let Death::Within(bound) = self.caps.death else { return self.client.disconnect() };
        let client = Arc::clone(&self.client);
        let noticed = move || {
            // This stands for a lease that runs out.
            thread::sleep(bound);
            client.disconnect();
        };
        let dying = thread::Builder::new().name("lease".to_owned()).spawn(noticed).unwrap();
        *self.dying.lock().unwrap() = Some(dying);
    }

    /// Fails if the client should have refused an operation.
    fn check(&self, object: ObjectId, op: &Op<Raw<'_>>) {
        let caps = &self.caps;
        let kind = kind_of(op);
        assert!(kind.is_none_or(|kind| caps.kinds.contains(kind)), "the client refuses {op:?} of {object}");
        let puts_many =
            matches!(op, Op::Queue(QueueOp::PutMany(_)) | Op::JoinableQueue(JoinableQueueOp::PutMany(_)));
        assert!(caps.puts_many || !puts_many, "the client refuses {op:?}");
        let closes = matches!(op, Op::Queue(QueueOp::Close) | Op::JoinableQueue(JoinableQueueOp::Close));
        assert!(caps.closes || !closes, "the client refuses {op:?}");
        let joins = matches!(op, Op::JoinableQueue(JoinableQueueOp::Join | JoinableQueueOp::Unfinished));
        assert!(caps.joins || !joins, "the client refuses {op:?}");
        if let Op::List(ListOp::Reorder { order, .. } | ListOp::Gather { order, .. }) = op {
            assert!(order.len() <= ORDER_ITEMS_AT_ONCE, "a long list is sorted in pieces");
        }
        if matches!(op, Op::Value(_) | Op::Queue(QueueOp::Put(_))) {
            let bytes = postcard::to_stdvec(op).unwrap().len();
            assert!(bytes <= caps.value_bytes_max + AROUND_BYTES, "the client refuses {op:?}");
        }
    }

    fn check_all(&self, steps: &[Step<Raw<'_>>]) {
        steps.iter().for_each(|step| self.check(step.object, &step.op));
    }

    fn check_transaction(&self, steps: &[Step<Raw<'_>>]) {
        assert!(self.caps.transactions, "the client refuses transactions");
        self.check_all(steps);
    }

    fn is_alive(&self) -> Result<(), CallError> {
        if self.is_dead.load(Ordering::SeqCst) { Err(CallError::ServerGone) } else { Ok(()) }
    }

    /// Answers a question about a length as uselessly as the backend may.
    fn blur(&self, is_length: bool, reply: Reply<Payload>) -> Reply<Payload> {
        if is_length && !self.caps.exact_counts { Reply::Count(0) } else { reply }
    }
}

/// Returns the kind of object that an operation concerns, if it is only one.
fn kind_of(op: &Op<Raw<'_>>) -> Option<Kind> {
    Some(match op {
        Op::Manager(ManagerOp::Create { spec, .. } | ManagerOp::Open { spec, .. }) => spec.kind(),
        Op::Queue(_) => Kind::Queue,
        Op::JoinableQueue(_) => Kind::JoinableQueue,
        Op::Value(_) => Kind::Value,
        Op::Array(_) => Kind::Array,
        Op::List(_) => Kind::List,
        Op::Dict(_) => Kind::Dict,
        Op::Namespace(_) => Kind::Namespace,
        Op::Condition(_) => Kind::Condition,
        Op::Event(_) => Kind::Event,
        Op::Barrier(_) => Kind::Barrier,
        _ => return None,
    })
}

/// Returns `true` if an operation asks for the length of a queue.
const fn asks_for_a_length(op: &Op<Raw<'_>>) -> bool {
    matches!(
        op,
        Op::Queue(QueueOp::Len) | Op::JoinableQueue(JoinableQueueOp::Len | JoinableQueueOp::Unfinished)
    )
}

impl Backend for Restricted {
    fn caps(&self) -> Caps {
        self.caps
    }

    fn call(&self, call: Call<Raw<'_>>) -> Result<Reply<Payload>, CallError> {
        self.check(call.object, &call.op);
        self.is_alive()?;
        let is_length = asks_for_a_length(&call.op);
        Ok(self.blur(is_length, self.client.call(call)?))
    }

    fn pipeline(&self, thread: u64, steps: Vec<Step<Raw<'_>>>) -> Result<Vec<Answer<Payload>>, CallError> {
        self.check_all(&steps);
        self.is_alive()?;
        let lengths: Vec<_> = steps.iter().map(|step| asks_for_a_length(&step.op)).collect();
        let answers = self.client.pipeline(thread, steps)?;
        Ok(answers.into_iter().zip(lengths).map(|(answer, is)| Ok(self.blur(is, answer?))).collect())
    }

    fn transaction(&self, thread: u64, steps: Vec<Step<Raw<'_>>>) -> Result<Vec<Reply<Payload>>, CallError> {
        self.check_transaction(&steps);
        self.is_alive()?;
        self.client.transaction(thread, steps)
    }

    fn transit(&self, object: ObjectId) -> Result<(), CallError> {
        self.client.transit(object)
    }

    fn attach(&self, object: ObjectId) -> Result<(), CallError> {
        self.client.attach(object)
    }

    fn adopt(&self, object: ObjectId) {
        self.client.adopt(object);
    }

    fn detach(&self, object: ObjectId) {
        // A backend that does not count proxies does not learn that one is dropped.
        if self.caps.references != References::None {
            self.client.detach(object);
        }
    }

    fn validity(&self, object: ObjectId, token: u64) -> Validity {
        self.client.validity(object, token)
    }

    fn watch(&self, object: ObjectId, token: u64, lost: OnLost) {
        self.client.watch(object, token, lost);
    }

    fn epoch(&self) -> u128 {
        self.client.epoch()
    }

    fn address(&self) -> Option<String> {
        None
    }
}

impl Drop for Restricted {
    fn drop(&mut self) {
        let dying = self.dying.lock().unwrap().take();
        dying.into_iter().for_each(|dying| dying.join().unwrap());
    }
}

/// A backend whose address has a password.
#[derive(Debug)]
struct Careless(InProcess);

macro_rules! delegate {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)+) => {
        $(fn $name(&self $(, $argument: $type)*) -> $result {
            self.0.$name($($argument),*)
        })+
    };
}

impl Backend for Careless {
    delegate! {
        caps() -> Caps;
        call(call: Call<Raw<'_>>) -> Result<Reply<Payload>, CallError>;
        pipeline(thread: u64, steps: Vec<Step<Raw<'_>>>) -> Result<Vec<Answer<Payload>>, CallError>;
        transaction(thread: u64, steps: Vec<Step<Raw<'_>>>) -> Result<Vec<Reply<Payload>>, CallError>;
        transit(object: ObjectId) -> Result<(), CallError>;
        attach(object: ObjectId) -> Result<(), CallError>;
        adopt(object: ObjectId) -> ();
        detach(object: ObjectId) -> ();
        validity(object: ObjectId, token: u64) -> Validity;
        watch(object: ObjectId, token: u64, lost: OnLost) -> ();
        epoch() -> u128;
    }

    fn address(&self) -> Option<String> {
        Some("engine://ann:secret@host/7".to_owned())
    }
}

#[test]
fn the_password_of_an_address_is_neither_sent_nor_shown() {
    let manager = Manager::with(Arc::new(Careless(InProcess::new().unwrap())));
    let value = manager.value(&1).unwrap();
    assert_eq!(manager.address().unwrap(), "engine://ann@host/7");
    let messages = [postcard::to_stdvec(&manager).unwrap(), postcard::to_stdvec(&value).unwrap()];
    for bytes in messages {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(text.contains("ann@host") && !text.contains("secret"), "{text}");
    }
    assert!(!format!("{manager:?}").contains("secret"));
}
