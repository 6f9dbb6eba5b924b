//! The threads that compute a run's nodes in one queue: each takes the node that became ready last of its own, else half of another's.
//!
//! A queue has as many seats as threads that may serve it. A seat that is taken belongs to one [`Runner`], which is a job of the queue,
//! or about to be one; it is left when there is nothing to do. So nodes that follow each other quickly cost a queue nothing, and one
//! that takes long keeps nobody waiting: whoever is idle takes what lies behind it.
//!
//! Rules:
//! 1. A node is added to a seat that is taken, or takes a free one with it. So there is always somebody who will come to it.
//! 2. Who leaves a seat does so under its lock, and with nothing on it.
//! 3. Two desks are never locked at once.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millstream_base::{Error, Kind, Origin, Result};
use millstream_runtime::{CancelToken, Job, Queue};

use super::plan::{NodeWork, Output, Token};
use super::state::State;
use crate::slice::Slice;
use crate::task::called;

/// The seats of one queue.
pub(super) struct Crew {
    seats: Box<[Seat]>,
    /// How many are taken, as somebody saw it lately.
    taken: AtomicUsize,
}

/// On cache lines of its own.
#[repr(align(128))]
#[derive(Default)]
struct Seat(Mutex<Desk>);

#[derive(Default)]
struct Desk {
    /// Ready, those longest ready first.
    nodes: Vec<u32>,
    is_taken: bool,
}

/// Who sits on a seat.
struct Runner {
    state: Arc<State>,
    queue: u32,
    seat: usize,
}

impl Crew {
    pub(super) fn new(queue: &Queue) -> Self {
        Self {
            seats: (0..queue.threads().max(1)).map(|_| Seat::default()).collect(),
            taken: AtomicUsize::new(0),
        }
    }

    fn has_free_seat(&self) -> bool {
        self.taken.load(Relaxed) < self.seats.len()
    }
}

impl Seat {
    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A node is ready to be computed in this queue.
pub(super) fn add(state: &Arc<State>, queue: u32, node: u32) {
    let crew = &state.crews[queue as usize];
    let count = crew.seats.len();
    // By turns, so that what becomes ready at once is spread.
    let order = (0..count).map(|offset| (node as usize + offset) % count);
    loop {
        if crew.has_free_seat() {
            for seat in order.clone() {
                let mut desk = crew.seats[seat].lock();
                if !desk.is_taken {
                    desk.is_taken = true;
                    desk.nodes.push(node);
                    crew.taken.fetch_add(1, Relaxed);
                    drop(desk);
                    return Arc::new(Runner { state: state.clone(), queue, seat }).submit();
                }
            }
        }
        for seat in order.clone() {
            let mut desk = crew.seats[seat].lock();
            if desk.is_taken {
                return desk.nodes.push(node);
            }
        }
    }
}

impl State {
    /// What a node computes.
    pub(super) fn compute(&self, index: usize, job: Option<CancelToken<'_>>) -> Result<Output> {
        let (NodeWork::Compute(queue, compute) | NodeWork::ComputeWithCare(queue, compute)) =
            &self.plan.nodes[index]
        else {
            unreachable!("only nodes that compute come here")
        };
        let queue = &self.plan.queues[*queue as usize];
        let token = Token { is_run_cancelled: &self.is_cancelled, queue, job };
        let open = self.recorder.as_ref().map(|recorder| recorder.open_node(&self.plan, index));
        let outcome = called(|| compute(&self.outputs, &token)).flatten();
        open.into_iter().for_each(|open| open.close(outcome.as_ref().err()));
        outcome
    }
}

impl Runner {
    fn crew(&self) -> &Crew {
        &self.state.crews[self.queue as usize]
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.crew().seats[self.seat].lock()
    }

    /// Waits for the queue's turn. If that has ended, so have the nodes.
    fn submit(self: Arc<Self>) {
        let queue = &self.state.plan.queues[self.queue as usize];
        if queue.submit(self.clone()).is_err() {
            self.give_up();
        }
    }

    /// The pool has ended.
    fn give_up(&self) {
        let nodes = {
            let mut desk = self.desk();
            desk.is_taken = false;
            std::mem::take(&mut desk.nodes)
        };
        self.crew().taken.fetch_sub(1, Relaxed);
        let mut ready = Vec::new();
        for node in nodes {
            let error = Error::new(Kind::Cancelled, Origin::Local, "the compute pool has ended");
            let ended = self.state.end(node as usize, Err(error), &mut ready);
            // The run begins the others: this may be deep in a row of submits that fail.
            ready.drain(..).for_each(|index| self.state.send(index));
            self.state.count_down(ended);
        }
    }

    /// The next node; without one the seat is left.
    fn next(&self) -> Option<u32> {
        let crew = self.crew();
        loop {
            if let Some(node) = self.desk().nodes.pop() {
                return Some(node);
            }
            let others = (1..crew.seats.len()).map(|offset| (self.seat + offset) % crew.seats.len());
            for other in others {
                let mut taken: Vec<u32> = {
                    let mut desk = crew.seats[other].lock();
                    let half = desk.nodes.len().div_ceil(2);
                    desk.nodes.drain(..half).collect()
                };
                if let Some(node) = taken.pop() {
                    if !taken.is_empty() {
                        self.desk().nodes.append(&mut taken);
                    }
                    return Some(node);
                }
            }
            let mut desk = self.desk();
            if desk.nodes.is_empty() {
                desk.is_taken = false;
                crew.taken.fetch_sub(1, Relaxed);
                return None;
            }
        }
    }

    /// Leaves the seat with all that is on it: nobody wants it.
    fn leave(&self) {
        let mut desk = self.desk();
        desk.nodes.clear();
        desk.is_taken = false;
        self.crew().taken.fetch_sub(1, Relaxed);
    }

    /// Hands on what has become ready: one to this thread, others to whoever is free, or onto the desk.
    fn spread(&self, ready: &mut Vec<usize>) -> Option<u32> {
        let mut next = None;
        for index in ready.drain(..) {
            let node = index as u32; // as they were counted
            match self.state.plan.nodes[index] {
                NodeWork::Compute(queue, _) if queue == self.queue => {
                    if next.is_none() {
                        next = Some(node);
                    } else if self.crew().has_free_seat() {
                        add(&self.state, queue, node);
                    } else {
                        self.desk().nodes.push(node);
                    }
                }
                NodeWork::Compute(queue, _) => add(&self.state, queue, node),
                _ => self.state.send(index),
            }
        }
        next
    }
}

impl Job for Runner {
    fn run(self: Arc<Self>) {
        let state = &self.state;
        let (mut slice, mut ended) = (Slice::begin(), 0);
        let (mut next, mut ready) = (None, Vec::new());
        loop {
            if state.is_cancelled() {
                return self.leave();
            }
            let Some(node) = next.take().or_else(|| self.next()) else { break };
            let span = state.span_of(node as usize);
            let outcome = span.in_scope(|| state.compute(node as usize, None));
            ended += state.end(node as usize, outcome, &mut ready);
            next = self.spread(&mut ready);
            if slice.is_over() {
                self.desk().nodes.extend(next);
                state.count_down(ended);
                return self.submit();
            }
        }
        state.count_down(ended);
    }

    fn abandon(self: Arc<Self>) {
        self.give_up();
    }
}
