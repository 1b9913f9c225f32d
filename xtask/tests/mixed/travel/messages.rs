//! Queues, ends of pipes, descriptors and addresses.

use std::fs::File;
use std::io::{PipeReader, Read, Write};
use std::os::fd::AsFd;

use mp::{
    Address, Connection, Descriptor, JoinableQueue, Listener, Queue, Receiver, Sender, SimpleQueue,
    connect_timeout, duplex, pipe,
};
use mp_sys::testing::PATIENCE;
use serde::{Deserialize, Serialize};

use crate::travel::{Kit, private_name};

/// What goes to the other process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ends {
    sender: Sender<String>,
    receiver: Receiver<String>,
    connection: Connection<usize, String>,
    queue: Queue<String>,
    simple: SimpleQueue<usize>,
    tasks: JoinableQueue<u64>,
    file: Descriptor,
    address: Address,
}

/// What stays here.
#[derive(Debug)]
pub(super) struct Messages {
    ends: Ends,
    from_there: Receiver<String>,
    to_there: Sender<String>,
    connection: Connection<String, usize>,
    file: PipeReader,
    listener: Listener<u64, String>,
}

impl Kit for Messages {
    type Sent = Ends;

    fn new() -> Self {
        let (sender, from_there) = pipe().unwrap();
        let (to_there, receiver) = pipe().unwrap();
        let (connection, its_connection) = duplex().unwrap();
        let (file, its_file) = std::io::pipe().unwrap();
        let address = Address::new(private_name());
        let listener = Listener::bind(address.clone()).unwrap();
        let ends = Ends {
            sender,
            receiver,
            connection: its_connection,
            queue: Queue::bounded(1).unwrap(),
            simple: SimpleQueue::new().unwrap(),
            tasks: JoinableQueue::new().unwrap(),
            file: its_file.into(),
            address,
        };
        Self { ends, from_there, to_there, connection, file, listener }
    }

    fn sent(&self) -> &Ends {
        &self.ends
    }

    fn there(ends: &Ends) {
        let word = ends.receiver.recv_timeout(PATIENCE).unwrap();
        ends.sender.send(&format!("{word} and back")).unwrap();
        let text = ends.connection.recv_timeout(PATIENCE).unwrap();
        ends.connection.send(&text.len()).unwrap();
        ends.simple.put(&ends.queue.get_timeout(PATIENCE).unwrap().len()).unwrap();
        // A task that is dropped is requeued; one that is done is not.
        drop(ends.tasks.get_timeout(PATIENCE).unwrap());
        let task = ends.tasks.get_timeout(PATIENCE).unwrap();
        assert_eq!((*task, task.deliveries()), (7, 2));
        task.done();
        File::from(ends.file.as_fd().try_clone_to_owned().unwrap()).write_all(b"file").unwrap();
        let by_name = connect_timeout::<String, u64>(ends.address.clone(), PATIENCE).unwrap();
        by_name.send(&"by name".to_owned()).unwrap();
        assert_eq!(by_name.recv_timeout(PATIENCE), Ok(9));
    }

    fn here(&self) {
        self.to_there.send(&"there".to_owned()).unwrap();
        assert_eq!(self.from_there.recv_timeout(PATIENCE).unwrap(), "there and back");
        self.connection.send(&"three".to_owned()).unwrap();
        assert_eq!(self.connection.recv_timeout(PATIENCE), Ok(5));
        self.ends.queue.put_timeout(&"seven".to_owned(), PATIENCE).unwrap();
        assert_eq!(self.ends.simple.get(), Ok(5));
        self.ends.tasks.put(&7).unwrap();
        assert!(self.ends.tasks.join_timeout(PATIENCE).unwrap());
        let mut bytes = [0; 4];
        (&self.file).read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"file");
        let by_name = self.listener.accept_timeout(PATIENCE).unwrap();
        assert_eq!(by_name.recv_timeout(PATIENCE).unwrap(), "by name");
        by_name.send(&9).unwrap();
    }

    fn end(self) {
        assert!(self.ends.queue.is_empty() && self.ends.simple.is_empty());
        assert_eq!(self.ends.tasks.unfinished(), Ok(0));
        // No handle is left in transit: when those of this process are gone, no process has the other ends.
        drop(self.ends);
        assert_eq!(self.from_there.recv_timeout(PATIENCE), Err(mp::RecvError::Closed));
        assert_eq!(self.connection.recv_timeout(PATIENCE), Err(mp::RecvError::Closed));
        assert_eq!((&self.file).read(&mut [0]).unwrap(), 0);
    }
}
