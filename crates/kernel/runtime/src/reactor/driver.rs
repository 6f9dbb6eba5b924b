//! The one tokio task that looks at a worker's sockets and runs their tasks.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, Event};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::coop::has_budget_remaining;

use super::home::{HERE, Here, Home};
use super::source::{Token, Woken};
use super::task::{run_due, run_next, run_now};
use crate::clock;
use crate::worker::Worker;

/// Looks in one poll of the driver; then tokio's own tasks, sockets and timers have their turn.
const LOOKS: usize = 8;
/// Events taken in one look.
const EVENTS: usize = 256;
/// A look that found this many events is followed by another at once. Behind a single one there is seldom more.
const BUSY_EVENTS: usize = 2;

/// Runs for as long as the worker.
///
/// # Errors
/// When tokio's reactor can't take our epoll: there is no worker without it.
pub(crate) fn drive(home: Arc<Home>, worker: Worker) -> io::Result<impl Future<Output = ()>> {
    // Watched as if it were a stream: that type lets us ask for readiness without unsafe code, and nothing else of it is
    // used.
    let watched = TcpStream::from_std(home.epoll.try_clone()?.into())?;
    let mut driver = Driver { home, worker, watched, events: Vec::with_capacity(EVENTS), is_known: false };
    Ok(poll_fn(move |cx| driver.turn(cx)))
}

struct Driver {
    home: Arc<Home>,
    worker: Worker,
    /// Our epoll, in tokio's.
    watched: TcpStream,
    events: Vec<Event>,
    /// Others know whom to wake.
    is_known: bool,
}

impl Driver {
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_known {
            self.is_known = true;
            self.home.set_driver(cx.waker());
        }
        HERE.with(|here| {
            here.is_awake.set(true);
            self.forget_edge(cx);
            for _ in 0..LOOKS {
                clock::begin_turn();
                let events = self.look(here);
                self.take_notes(here);
                if !self.run_ready(here) {
                    break;
                }
                let is_tidy = here.tasks.borrow_mut().give_back();
                if is_tidy && events < BUSY_EVENTS && here.tasks.borrow().ready() == 0 {
                    here.is_awake.set(false);
                    return Poll::Pending;
                }
            }
            // Comes back as soon as tokio has looked at its own.
            pin!(tokio::task::yield_now()).poll(cx)
        })
    }

    /// Rule 3: an event that comes from here on makes a new edge.
    fn forget_edge(&self, cx: &mut Context<'_>) {
        while let Poll::Ready(Ok(())) = self.watched.poll_read_ready(cx) {
            // A try that would block is what clears readiness.
            let _ =
                self.watched.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        }
    }

    /// Takes in what the kernel has, and polls whom it concerns; gives how many events there were.
    fn look(&mut self, here: &Here) -> usize {
        self.events.clear();
        // It fails when a signal comes, and then the next look gets it all.
        let _ = epoll::wait(&self.home.epoll, spare_capacity(&mut self.events), Some(&Timespec::default()));
        let mut may_run = true;
        for event in &self.events {
            let token = Token::of(event.data);
            let woken = here.sources.borrow().get(token).map(|source| source.on_event(event.flags));
            let Some(Woken { tasks: [reader, writer], others }) = woken else { continue };
            others.into_iter().flatten().for_each(Waker::wake);
            let also = if writer == reader { 0 } else { writer };
            for key in [reader, also].into_iter().filter_map(|task| task.checked_sub(1)) {
                if may_run {
                    run_now(here, &self.worker, key);
                    may_run = has_budget_remaining();
                } else {
                    here.tasks.borrow_mut().queue(key);
                }
            }
        }
        self.events.len()
    }

    fn take_notes(&self, here: &Here) {
        let Some(notes) = self.home.take_notes() else { return };
        here.tasks.borrow_mut().queue_woken(notes.woken);
        for token in notes.gone {
            let removed = here.sources.borrow_mut().remove(token);
            drop(removed);
        }
    }

    /// Polls each task that is queued now once; false when tokio wants its turn before all were.
    fn run_ready(&self, here: &Here) -> bool {
        if !run_due(here, &self.worker) {
            return false;
        }
        let count = here.tasks.borrow().ready();
        for _ in 0..count {
            if !has_budget_remaining() {
                return false;
            }
            if !run_next(here, &self.worker) {
                break;
            }
        }
        true
    }
}
