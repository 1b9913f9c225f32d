//! The methods that make objects, written once for objects with and without a name.

/// Implements the methods for a manager and an optional name.
macro_rules! makers {
    ($self:ident => $manager:expr, $name:expr) => {
        /// Makes an empty [`List`].
        ///
        /// # Errors
        /// As for [`value`](Self::value).
        pub fn list<T>(&$self) -> Result<List<T>, ObjectError> {
            $manager.make($name, Spec::List)
        }

        /// Makes an empty [`Dict`].
        ///
        /// # Errors
        /// As for [`value`](Self::value).
        pub fn dict<K, V>(&$self) -> Result<Dict<K, V>, ObjectError> {
            $manager.make($name, Spec::Dict)
        }

        /// Makes a [`Namespace`] without attributes.
        ///
        /// # Errors
        /// As for [`lock`](Self::lock).
        pub fn namespace(&$self) -> Result<Namespace, ObjectError> {
            $manager.make($name, Spec::Namespace)
        }

        /// Makes an [`Array`] with these elements. Elements of type `&str` make an `Array<String>` (see [`Storable`]).
        ///
        /// # Errors
        /// As for [`value`](Self::value).
        pub fn array<'e, T: Storable + Serialize + ?Sized + 'e>(
            &$self,
            elements: impl IntoIterator<Item = &'e T>,
        ) -> Result<Array<T::Owned>, ObjectError> {
            $manager.make_array($name, elements)
        }

        /// Makes a free [`Lock`].
        ///
        /// # Errors
        /// [`ObjectError`]: [`NoRoom`](crate::proto::Fault::NoRoom) if the manager has no room; with a name, also
        /// [`WrongKind`](crate::proto::Fault::WrongKind) and [`BadName`](crate::proto::Fault::BadName).
        pub fn lock(&$self) -> Result<Lock, ObjectError> {
            $manager.make($name, Spec::Lock)
        }

        /// Makes a free [`RLock`].
        ///
        /// # Errors
        /// As for [`lock`](Self::lock).
        pub fn rlock(&$self) -> Result<RLock, ObjectError> {
            $manager.make($name, Spec::RLock)
        }

        /// Makes a [`Condition`] without waiters.
        ///
        /// # Errors
        /// As for [`lock`](Self::lock).
        pub fn condition(&$self) -> Result<Condition, ObjectError> {
            $manager.make($name, Spec::Condition)
        }

        /// Makes a [`Semaphore`] with `permits` free permits.
        ///
        /// # Errors
        /// As for [`lock`](Self::lock); [`OutOfRange`](crate::proto::Fault::OutOfRange) above
        /// [`PERMITS_MAX`](crate::limits::PERMITS_MAX).
        pub fn semaphore(&$self, permits: usize) -> Result<Semaphore, ObjectError> {
            $manager.make($name, Spec::Semaphore(count_of(permits)))
        }

        /// Makes a [`BoundedSemaphore`] with `permits` free permits.
        ///
        /// # Errors
        /// As for [`semaphore`](Self::semaphore).
        pub fn bounded_semaphore(&$self, permits: usize) -> Result<BoundedSemaphore, ObjectError> {
            $manager.make($name, Spec::BoundedSemaphore(count_of(permits)))
        }

        /// Makes an [`Event`] that is not set.
        ///
        /// # Errors
        /// As for [`lock`](Self::lock).
        pub fn event(&$self) -> Result<Event, ObjectError> {
            $manager.make($name, Spec::Event)
        }

        /// Makes a [`Barrier`] for `parties` parties.
        ///
        /// # Errors
        /// As for [`lock`](Self::lock); [`OutOfRange`](crate::proto::Fault::OutOfRange) for 0 or more than
        /// [`PARTIES_MAX`](crate::limits::PARTIES_MAX).
        pub fn barrier(&$self, parties: usize) -> Result<Barrier, ObjectError> {
            $manager.make($name, Spec::Barrier(count_of(parties)))
        }

        /// Makes a [`Queue`] without a limit.
        ///
        /// # Errors
        /// As for [`lock`](Self::lock); [`ObjectError::WrongType`] if a queue with this name has items of another type.
        pub fn queue<T>(&$self) -> Result<Queue<T>, ObjectError> {
            $manager.make($name, Spec::Queue(0))
        }

        /// Makes a [`Queue`] that holds at most `maxsize` items.
        ///
        /// # Errors
        /// As for [`queue`](Self::queue); [`OutOfRange`](crate::proto::Fault::OutOfRange) for 0 or more than
        /// [`CAPACITY_MAX`](crate::limits::CAPACITY_MAX).
        #[doc(alias = "maxsize")]
        pub fn bounded_queue<T>(&$self, maxsize: usize) -> Result<Queue<T>, ObjectError> {
            $manager.make($name, Spec::Queue(room(maxsize)?))
        }

        /// Makes a [`JoinableQueue`] without a limit, whose tasks fail after
        /// [`MAX_DELIVERIES_DEFAULT`](crate::limits::MAX_DELIVERIES_DEFAULT) deliveries.
        ///
        /// # Errors
        /// As for [`queue`](Self::queue).
        pub fn joinable_queue<T>(&$self) -> Result<JoinableQueue<T>, ObjectError> {
            $self.joinable_queue_with(0, MAX_DELIVERIES_DEFAULT)
        }

        /// Makes a [`JoinableQueue`] with at most `maxsize` waiting tasks, otherwise like
        /// [`joinable_queue`](Self::joinable_queue).
        ///
        /// # Errors
        /// As for [`bounded_queue`](Self::bounded_queue).
        #[doc(alias = "maxsize")]
        pub fn bounded_joinable_queue<T>(&$self, maxsize: usize) -> Result<JoinableQueue<T>, ObjectError> {
            room(maxsize)?;
            $self.joinable_queue_with(maxsize, MAX_DELIVERIES_DEFAULT)
        }

        /// Makes a [`JoinableQueue`] with at most `maxsize` waiting tasks, or 0 for no limit, whose tasks fail after
        /// `max_deliveries` deliveries.
        ///
        /// # Errors
        /// As for [`queue`](Self::queue); [`OutOfRange`](crate::proto::Fault::OutOfRange) for more tasks than
        /// [`CAPACITY_MAX`](crate::limits::CAPACITY_MAX), or for 0 deliveries.
        pub fn joinable_queue_with<T>(
            &$self,
            maxsize: usize,
            max_deliveries: u32,
        ) -> Result<JoinableQueue<T>, ObjectError> {
            $manager.make($name, Spec::JoinableQueue { maxsize: count_of(maxsize), max_deliveries })
        }

        /// Makes a [`Value`] that is `value`. A `&str` makes a `Value<String>` (see [`Storable`]).
        ///
        /// # Errors
        /// As for [`lock`](Self::lock); [`ObjectError::WrongType`] if the value with this name has another type;
        /// [`ObjectError::Encode`], [`ObjectError::OtherManager`].
        pub fn value<T: Storable + Serialize + ?Sized>(
            &$self,
            value: &T,
        ) -> Result<Value<T::Owned>, ObjectError> {
            $manager.make_value($name, value)
        }
    };
}

pub(super) use makers;
