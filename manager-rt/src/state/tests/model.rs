//! The common part of the models of all kinds: which call waits, since when, and until when.
//!
//! A model predicts which calls a step answers, and how. The state machine has to agree: so no call waits that could be
//! served, and no call is served that has to wait.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Answers by the number of the call.
pub(super) type Answers = BTreeMap<u64, Answer<Payload>>;

/// A waiting call.
#[derive(Debug)]
pub(super) struct Waits<W> {
    pub(super) client: usize,
    pub(super) call: u64,
    deadline: Option<u64>,
    pub(super) want: W,
}

/// A line, longest waiter first.
#[derive(Debug)]
pub(super) struct ModelLine<W>(pub(super) Vec<Waits<W>>);

impl<W> Default for ModelLine<W> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<W> ModelLine<W> {
    /// Adds a call to the line, or answers `otherwise` if the call does not wait.
    pub(super) fn join(
        &mut self,
        (client, call): (usize, u64),
        (now, wait): (u64, Wait),
        want: W,
        otherwise: Fault,
        answers: &mut Answers,
    ) {
        let deadline = match wait {
            Wait::No => {
                answers.insert(call, Err(otherwise));
                return;
            }
            Wait::For(nanos) => Some(now + nanos),
            Wait::Forever => None,
        };
        self.0.push(Waits { client, call, deadline, want });
    }

    pub(super) fn pop(&mut self) -> Option<Waits<W>> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }

    /// Returns the deadline and number of the next call whose time is over.
    pub(super) fn next_late(&self, now: u64) -> Option<(u64, u64)> {
        self.0
            .iter()
            .filter_map(|waits| Some((waits.deadline?, waits.call)))
            .filter(|late| late.0 <= now)
            .min()
    }

    /// Removes the waiter with this call.
    pub(super) fn remove(&mut self, call: u64) -> Option<Waits<W>> {
        let index = self.0.iter().position(|waits| waits.call == call)?;
        Some(self.0.remove(index))
    }

    pub(super) fn leave(&mut self, client: usize) {
        self.0.retain(|waits| waits.client != client);
    }
}

/// Generates how long a call waits.
pub(super) fn wait() -> impl Strategy<Value = Wait> {
    prop_oneof![Just(Wait::No), (0_u64..20).prop_map(Wait::For), Just(Wait::Forever)]
}

/// Generates one of three clients.
pub(super) fn who() -> impl Strategy<Value = usize> {
    0_usize..3
}

/// Three clients of one object that a fourth client made. Any of the three may be replaced.
pub(super) struct Three {
    pub(super) world: World,
    pub(super) owner: ClientId,
    pub(super) clients: [ClientId; 3],
    pub(super) object: ObjectId,
}

impl Three {
    pub(super) fn new(spec: Spec<Raw<'_>>) -> Self {
        let mut world = World::new();
        let owner = world.client();
        let clients = [world.client(), world.client(), world.client()];
        let object = world.create(owner, spec);
        let mut three = Self { world, owner, clients, object };
        (0..3).for_each(|who| three.attach(who));
        three
    }

    fn attach(&mut self, who: usize) {
        let attach = Op::Manager(ManagerOp::Attach(vec![self.object]));
        self.world.ask(self.clients[who], ObjectId::MANAGER, attach).unwrap();
    }

    /// Returns the number of the next call.
    pub(super) fn next_call(&self) -> u64 {
        self.world.calls + 1
    }

    /// Ends one client, and connects another one.
    pub(super) fn replace(&mut self, who: usize) {
        self.replace_unread(who, u64::MAX);
    }

    /// Like [`replace`](Self::replace), for a client that certainly did not read its answers from number `unread` on.
    pub(super) fn replace_unread(&mut self, who: usize, unread: u64) {
        self.world.leave_unread(self.clients[who], unread);
        self.connect(who);
    }

    /// Like [`replace`](Self::replace), for a client that may not have read any answer.
    pub(super) fn replace_in_doubt(&mut self, who: usize) {
        self.world.leave_in_doubt(self.clients[who]);
        self.connect(who);
    }

    fn connect(&mut self, who: usize) {
        self.clients[who] = self.world.client();
        self.attach(who);
    }

    /// Releases the reference of one client, and adds another one.
    pub(super) fn detach_and_attach(&mut self, who: usize) {
        let detach = ManagerOp::Detach { references: vec![(self.object, 1)], lingers: false };
        self.world.ask(self.clients[who], ObjectId::MANAGER, Op::Manager(detach)).unwrap();
        self.attach(who);
    }

    /// Returns all answers since the last call of this method.
    pub(super) fn answers(&mut self) -> Answers {
        let answers = self.world.effects.answers.drain(..);
        answers.map(|answered| (answered.call, answered.answer)).collect()
    }

    pub(super) fn send(&mut self, who: usize, wait: Wait, op: Op<Raw<'_>>) {
        self.world.send(self.clients[who], self.object, wait, op);
    }

    pub(super) fn cancel(&mut self, who: usize, call: u64) {
        self.world.cancel(self.clients[who], call);
    }

    pub(super) fn end(self) {
        let [one, two, three] = self.clients;
        self.world.end(&[one, two, three, self.owner]);
    }
}
