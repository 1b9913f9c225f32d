//! The methods that make objects, written once for those without a name and for those with one.

/// Makes the methods, for a manager and perhaps a name.
macro_rules! makers {
    ($self:ident => $manager:expr, $name:expr) => {
        /// An empty [`List`].
        ///
        /// # Errors
        /// As [`value`](Self::value).
        pub fn list<T>(&$self) -> Result<List<T>, ObjectError> {
            $manager.make($name, Spec::List)
        }

        /// An empty [`Dict`].
        ///
        /// # Errors
        /// As [`value`](Self::value).
        pub fn dict<K, V>(&$self) -> Result<Dict<K, V>, ObjectError> {
            $manager.make($name, Spec::Dict)
        }

        /// A [`Namespace`] without attributes.
        ///
        /// # Errors
        /// As [`lock`](Self::lock).
        pub fn namespace(&$self) -> Result<Namespace, ObjectError> {
            $manager.make($name, Spec::Namespace)
        }

        /// An [`Array`], which has these elements if it is new: of `&str`s, an `Array<String>` (see [`Storable`]).
        ///
        /// # Errors
        /// As [`value`](Self::value).
        pub fn array<'e, T: Storable + Serialize + ?Sized + 'e>(
            &$self,
            elements: impl IntoIterator<Item = &'e T>,
        ) -> Result<Array<T::Owned>, ObjectError> {
            $manager.make_array($name, elements)
        }

        /// A free [`Lock`].
        ///
        /// # Errors
        /// [`ObjectError`]: [`NoSpace`](crate::proto::Fault::NoSpace) if the manager has no room; for a name, also
        /// [`WrongKind`](crate::proto::Fault::WrongKind) and [`BadName`](crate::proto::Fault::BadName).
        pub fn lock(&$self) -> Result<Lock, ObjectError> {
            $manager.make($name, Spec::Lock)
        }

        /// A free [`RLock`].
        ///
        /// # Errors
        /// As [`lock`](Self::lock).
        pub fn rlock(&$self) -> Result<RLock, ObjectError> {
            $manager.make($name, Spec::RLock)
        }

        /// A [`Condition`] that nobody waits for.
        ///
        /// # Errors
        /// As [`lock`](Self::lock).
        pub fn condition(&$self) -> Result<Condition, ObjectError> {
            $manager.make($name, Spec::Condition)
        }

        /// A [`Semaphore`] with `permits` free permits.
        ///
        /// # Errors
        /// As [`lock`](Self::lock); [`OutOfRange`](crate::proto::Fault::OutOfRange) above
        /// [`PERMITS_MAX`](crate::limits::PERMITS_MAX).
        pub fn semaphore(&$self, permits: usize) -> Result<Semaphore, ObjectError> {
            $manager.make($name, Spec::Semaphore(count_of(permits)))
        }

        /// A [`BoundedSemaphore`] with `permits` free permits.
        ///
        /// # Errors
        /// As [`semaphore`](Self::semaphore).
        pub fn bounded_semaphore(&$self, permits: usize) -> Result<BoundedSemaphore, ObjectError> {
            $manager.make($name, Spec::BoundedSemaphore(count_of(permits)))
        }

        /// An [`Event`] that is not set.
        ///
        /// # Errors
        /// As [`lock`](Self::lock).
        pub fn event(&$self) -> Result<Event, ObjectError> {
            $manager.make($name, Spec::Event)
        }

        /// A [`Barrier`] for `parties` parties.
        ///
        /// # Errors
        /// As [`lock`](Self::lock); [`OutOfRange`](crate::proto::Fault::OutOfRange) for 0 or more than
        /// [`PARTIES_MAX`](crate::limits::PARTIES_MAX).
        pub fn barrier(&$self, parties: usize) -> Result<Barrier, ObjectError> {
            $manager.make($name, Spec::Barrier(count_of(parties)))
        }

        /// A [`Queue`] without a limit.
        ///
        /// # Errors
        /// As [`lock`](Self::lock); [`ObjectError::WrongType`] if the name's queue has items of another type.
        pub fn queue<T>(&$self) -> Result<Queue<T>, ObjectError> {
            $manager.make($name, Spec::Queue(0))
        }

        /// A [`Queue`] that holds at most `maxsize` items.
        ///
        /// # Errors
        /// As [`queue`](Self::queue); [`OutOfRange`](crate::proto::Fault::OutOfRange) for 0 or more than
        /// [`CAPACITY_MAX`](crate::limits::CAPACITY_MAX).
        #[doc(alias = "maxsize")]
        pub fn bounded_queue<T>(&$self, maxsize: usize) -> Result<Queue<T>, ObjectError> {
            $manager.make($name, Spec::Queue(room(maxsize)?))
        }

        /// A [`JoinableQueue`] without a limit, whose tasks fail after
        /// [`MAX_DELIVERIES_DEFAULT`](crate::limits::MAX_DELIVERIES_DEFAULT) deliveries.
        ///
        /// # Errors
        /// As [`queue`](Self::queue).
        pub fn joinable_queue<T>(&$self) -> Result<JoinableQueue<T>, ObjectError> {
            $self.joinable_queue_with(0, MAX_DELIVERIES_DEFAULT)
        }

        /// A [`JoinableQueue`] in which at most `maxsize` tasks wait; else as [`joinable_queue`](Self::joinable_queue).
        ///
        /// # Errors
        /// As [`bounded_queue`](Self::bounded_queue).
        #[doc(alias = "maxsize")]
        pub fn bounded_joinable_queue<T>(&$self, maxsize: usize) -> Result<JoinableQueue<T>, ObjectError> {
            room(maxsize)?;
            $self.joinable_queue_with(maxsize, MAX_DELIVERIES_DEFAULT)
        }

        /// A [`JoinableQueue`] in which at most `maxsize` tasks wait, 0 for no limit, and whose tasks fail after
        /// `max_deliveries` deliveries.
        ///
        /// # Errors
        /// As [`queue`](Self::queue); [`OutOfRange`](crate::proto::Fault::OutOfRange) for more tasks than
        /// [`CAPACITY_MAX`](crate::limits::CAPACITY_MAX), or for no delivery at all.
        pub fn joinable_queue_with<T>(
            &$self,
            maxsize: usize,
            max_deliveries: u32,
        ) -> Result<JoinableQueue<T>, ObjectError> {
            $manager.make($name, Spec::JoinableQueue { maxsize: count_of(maxsize), max_deliveries })
        }

        /// A [`Value`], which is `value` if it is new: of a `&str`, a `Value<String>` (see [`Storable`]).
        ///
        /// # Errors
        /// As [`lock`](Self::lock); [`ObjectError::WrongType`] if the name's value is of another type;
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
