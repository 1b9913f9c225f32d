//! Random sequences of operations, compared with a `VecDeque`.

use std::collections::VecDeque;

use kernel_ipc::{GetError, PutError, Queue};
use mp_sys::testing::tests;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

tests! {
    a_queue_behaves_like_a_vec_deque,
}

#[derive(Debug, Clone)]
enum Op {
    Put(usize),
    PutMany(Vec<usize>),
    Get,
    GetMany(usize),
    Close,
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 0..100_usize, 2 => 0..5_000_usize, 1 => 60_000..300_000_usize]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        30 => size().prop_map(Op::Put),
        10 => vec(size(), 0..20).prop_map(Op::PutMany),
        30 => Just(Op::Get),
        10 => (0..20_usize).prop_map(Op::GetMany),
        1 => Just(Op::Close),
    ]
}

fn limits() -> impl Strategy<Value = (Option<usize>, Option<usize>)> {
    prop_oneof![
        Just((None, None)),
        (1..20_usize).prop_map(|items| (Some(items), None)),
        (8..200_000_usize).prop_map(|bytes| (None, Some(bytes))),
    ]
}

fn a_queue_behaves_like_a_vec_deque() {
    let config = Config { cases: 64, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&(limits(), vec(op(), 1..200)), |(limits, ops)| {
            Model::new(limits).run(&ops);
            Ok(())
        })
        .unwrap();
}

struct Model {
    queue: Queue<()>,
    items: VecDeque<Vec<u8>>,
    max_items: usize,
    max_bytes: usize,
    is_closed: bool,
    made: u8,
}

impl Model {
    fn new((max_items, max_bytes): (Option<usize>, Option<usize>)) -> Self {
        let queue = match (max_items, max_bytes) {
            (Some(items), _) => Queue::bounded(items),
            (_, Some(bytes)) => Queue::bounded_bytes(bytes),
            _ => Queue::new(),
        };
        Self {
            queue: queue.unwrap(),
            items: VecDeque::new(),
            max_items: max_items.unwrap_or(usize::MAX),
            max_bytes: max_bytes.unwrap_or(usize::MAX),
            is_closed: false,
            made: 0,
        }
    }

    fn run(&mut self, ops: &[Op]) {
        for op in ops {
            match op {
                Op::Put(size) => self.put(*size),
                Op::PutMany(sizes) => self.put_many(sizes),
                Op::Get => {
                    let expected = self.items.pop_front().ok_or_else(|| self.nothing());
                    assert_eq!(self.queue.try_get_bytes(), expected);
                }
                Op::GetMany(max) => self.get_many(*max),
                Op::Close => {
                    self.queue.close().unwrap();
                    self.is_closed = true;
                }
            }
            assert_eq!(self.queue.len(), self.items.len());
        }
    }

    fn nothing(&self) -> GetError {
        if self.is_closed { GetError::Closed } else { GetError::Empty }
    }

    fn item(&mut self, size: usize) -> Vec<u8> {
        self.made = self.made.wrapping_add(1);
        vec![self.made; size]
    }

    fn record(size: usize) -> usize {
        let slack = if size < 4096 { 0 } else { 56 };
        (size + 8 + slack).next_multiple_of(8)
    }

    fn has_room(&self, size: usize) -> bool {
        let bytes: usize = self.items.iter().map(|item| Self::record(item.len())).sum();
        self.items.len() < self.max_items && self.max_bytes - bytes >= Self::record(size)
    }

    fn put(&mut self, size: usize) {
        let item = self.item(size);
        let expected = if Self::record(size) > self.max_bytes {
            Err(PutError::TooLarge { found: size, limit: self.max_bytes })
        } else if self.is_closed {
            Err(PutError::Closed)
        } else if !self.has_room(size) {
            Err(PutError::Full)
        } else {
            Ok(())
        };
        assert_eq!(self.queue.try_put_bytes(&item), expected);
        if expected.is_ok() {
            self.items.push_back(item);
        }
    }

    fn put_many(&mut self, sizes: &[usize]) {
        let mut fits = Vec::new();
        for &size in sizes {
            // Waiting for room would never end.
            let before: usize = fits.iter().map(|item: &Vec<u8>| Self::record(item.len())).sum();
            let bytes: usize = self.items.iter().map(|item| Self::record(item.len())).sum();
            let has_room = self.items.len() + fits.len() < self.max_items
                && self.max_bytes.saturating_sub(bytes + before) >= Self::record(size);
            if has_room {
                fits.push(self.item(size));
            }
        }
        let result = self.queue.put_many_bytes(&fits);
        if self.is_closed && !fits.is_empty() {
            assert_eq!(result.unwrap_err().error, PutError::Closed);
        } else {
            result.unwrap();
            self.items.extend(fits);
        }
    }

    fn get_many(&mut self, max: usize) {
        match self.queue.try_get_many(max) {
            Ok(mut batch) => {
                let expected = max.min(self.items.len());
                assert!(max == 0 || expected > 0);
                for item in self.items.drain(..expected) {
                    assert_eq!(batch.next_bytes(), Some(&item[..]));
                }
                assert_eq!(batch.next_bytes(), None);
            }
            Err(error) => {
                assert!(self.items.is_empty());
                assert_eq!(error, self.nothing());
            }
        }
    }
}
