//! The objects of a manager, as a state machine without clock, socket or thread.
