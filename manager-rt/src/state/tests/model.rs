//! What the simple models of all kinds have: who waits, since when, until when.
//!
//! A model says which calls are answered by a step, and what. The state machine has to say the same: so nobody waits who
//! could be served, and nobody is served who has to wait.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Answers by the number of the call.
pub(super) type Answers = BTreeMap<u64, Answer<Payload>>;

/// Somebody who waits.
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
    /// Somebody waits, or is told `otherwise` if it does not want to.
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

    /// The next one whose time is over: its deadline and call.
    pub(super) fn next_late(&self, now: u64) -> Option<(u64, u64)> {
        self.0
            .iter()
            .filter_map(|waits| Some((waits.deadline?, waits.call)))
            .filter(|late| late.0 <= now)
            .min()
    }

    /// Takes the one with this call out.
    pub(super) fn remove(&mut self, call: u64) -> Option<Waits<W>> {
        let index = self.0.iter().position(|waits| waits.call == call)?;
        Some(self.0.remove(index))
    }

    pub(super) fn leave(&mut self, client: usize) {
        self.0.retain(|waits| waits.client != client);
    }
}

/// How long a call waits.
pub(super) fn wait() -> impl Strategy<Value = Wait> {
    prop_oneof![Just(Wait::No), (0_u64..20).prop_map(Wait::For), Just(Wait::Forever)]
}

/// Which of three clients.
pub(super) fn who() -> impl Strategy<Value = usize> {
    0_usize..3
}

/// Three clients with one object, which a fourth one made, of whom anyone may be replaced.
pub(super) struct Three {
    pub(super) world: World,
    owner: ClientId,
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

    /// The number of the next call.
    pub(super) fn next_call(&self) -> u64 {
        self.world.calls + 1
    }

    /// One dies, and another one comes.
    pub(super) fn replace(&mut self, who: usize) {
        self.replace_unread(who, u64::MAX);
    }

    /// As [`replace`](Self::replace); its answers from number `unread` on were surely not read.
    pub(super) fn replace_unread(&mut self, who: usize, unread: u64) {
        self.world.leave_unread(self.clients[who], unread);
        self.clients[who] = self.world.client();
        self.attach(who);
    }

    /// One gives its reference back, and gets another one.
    pub(super) fn detach_and_attach(&mut self, who: usize) {
        let detach = ManagerOp::Detach { references: vec![(self.object, 1)], lingers: false };
        self.world.ask(self.clients[who], ObjectId::MANAGER, Op::Manager(detach)).unwrap();
        self.attach(who);
    }

    /// All answers since the last time.
    pub(super) fn answers(&mut self) -> Answers {
        let answers = self.world.effects.answers.drain(..);
        answers.map(|answered| (answered.call, answered.answer)).collect()
    }

    pub(super) fn send(&mut self, who: usize, wait: Wait, op: Op<Raw<'_>>) {
        self.world.send(self.clients[who], self.object, wait, op);
    }

    pub(super) fn cancel(&mut self, who: usize, call: u64) {
        let cancel = Op::Manager(ManagerOp::Cancel { call });
        self.world.ask(self.clients[who], ObjectId::MANAGER, cancel).unwrap();
    }

    pub(super) fn end(self) {
        let [one, two, three] = self.clients;
        self.world.end(&[one, two, three, self.owner]);
    }
}
