//! What a client did and what it cost, as one line of JSON.

use std::time::{Duration, Instant};

/// CPU time of this process at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Cpu {
    user: Duration,
    system: Duration,
    moment: Instant,
}

impl Cpu {
    /// Used so far, by all threads.
    pub fn now() -> Self {
        let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: the pointer is valid for a write, and zeroes are a valid `rusage` should the call fail.
        let usage = unsafe {
            libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
            usage.assume_init()
        };
        let span = |time: libc::timeval| {
            Duration::from_secs(time.tv_sec.unsigned_abs())
                + Duration::from_micros(time.tv_usec.unsigned_abs())
        };
        Self { user: span(usage.ru_utime), system: span(usage.ru_stime), moment: Instant::now() }
    }
}

/// Prints what `requests` cost since `start`.
pub fn report(requests: u64, start: Cpu) {
    let end = Cpu::now();
    println!(
        "{{\"requests\":{requests},\"seconds\":{:.6},\"cpu_user_us\":{},\"cpu_system_us\":{}}}",
        (end.moment - start.moment).as_secs_f64(),
        (end.user - start.user).as_micros(),
        (end.system - start.system).as_micros(),
    );
}
