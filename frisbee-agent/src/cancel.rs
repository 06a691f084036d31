//! Stopping a job from outside.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Shared by a job and whoever may stop it.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    state: Arc<(Mutex<Option<String>>, Condvar)>,
}

impl Cancel {
    /// Stops it; `why` ends the sentence "interrupted …". The first reason stays.
    pub fn set(&self, why: &str) {
        let (reason, changed) = &*self.state;
        reason.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| why.to_owned());
        changed.notify_all();
    }

    /// Why it is to stop, if it is.
    pub fn reason(&self) -> Option<String> {
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits; false if it was stopped.
    pub fn sleep(&self, time: Duration) -> bool {
        let (reason, changed) = &*self.state;
        let reason = reason.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(reason, time, |reason| reason.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.is_none()
    }
}
