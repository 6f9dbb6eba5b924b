//! A socket's place in the reactor of its worker.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustix::event::epoll::{self, EventFlags};

use super::home::HERE;
use super::source::{READABLE, Source, WRITABLE};

/// A socket's place in the reactor of the worker it lives on: says when it can be read and written.
///
/// All but [`is_here`](Self::is_here) and dropping is for the worker's own thread; elsewhere nothing is ever ready.
/// Dropping it forgets the place; the kernel forgets the socket itself when it is closed, so close it next.
///
/// # Examples
/// ```
/// # use millstream_runtime::{Engine, Interest, Watch};
/// # let engine = Engine::builder().workers(1).build().unwrap();
/// # engine.run(async |engine| {
/// # engine.workers()[0].spawn(async || {
/// use std::io::Write;
/// let (here, mut there) = std::os::unix::net::UnixStream::pair().unwrap();
/// let watch = Watch::new(&here).unwrap().expect("this is a worker");
/// there.write_all(b"news").unwrap();
/// std::future::poll_fn(|cx| watch.poll_ready(Interest::Read, cx)).await;
/// # }).await.unwrap();
/// # });
/// ```
pub struct Watch(Arc<Source>);

/// What a socket is to be ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Reading: bytes, the peer's end, or an error.
    Read,
    /// Writing: room in the kernel's buffer, or an error.
    Write,
}

impl Interest {
    #[inline]
    pub(super) fn bit(self) -> u8 {
        match self {
            Self::Read => READABLE,
            Self::Write => WRITABLE,
        }
    }

    #[inline]
    pub(super) fn index(self) -> usize {
        self as usize
    }
}

impl Watch {
    /// Has the reactor of this thread watch a socket, edge-triggered; `None` where the thread is no worker's.
    ///
    /// # Errors
    /// When the kernel refuses (`ENOSPC`: `fs.epoll.max_user_watches`; `ENOMEM`).
    pub fn new(socket: impl AsFd) -> io::Result<Option<Self>> {
        let source = HERE.with(|here| {
            let home = here.home.borrow().clone()?;
            here.sources.borrow_mut().add(home)
        });
        let Some(watch) = source.map(Self) else { return Ok(None) };
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&watch.0.home.epoll, socket, watch.0.token().data(), flags)?;
        Ok(Some(watch))
    }

    /// Is this the thread of its worker?
    #[inline]
    pub fn is_here(&self) -> bool {
        self.0.home.is_here()
    }

    /// Is the socket ready, as far as known? If not, the task is woken when it is. One task for each [`Interest`]: the last
    /// one that asked.
    #[inline]
    pub fn poll_ready(&self, interest: Interest, cx: &mut Context<'_>) -> Poll<()> {
        if self.0.is_ready(interest) {
            return Poll::Ready(());
        }
        self.0.register(interest, cx);
        Poll::Pending
    }

    /// Is the socket ready, as far as known?
    #[inline]
    pub fn is_ready(&self, interest: Interest) -> bool {
        self.0.is_ready(interest)
    }

    /// Is the socket known not to be ready, and the task of `cx` the one to be woken when it is? Then there is no need to
    /// ask again before it sleeps.
    #[inline]
    pub fn is_waiting(&self, interest: Interest, cx: &Context<'_>) -> bool {
        !self.0.is_ready(interest) && self.0.wakes(interest, cx)
    }

    /// The socket had no more: it is ready again when the kernel says so. The end of the peer stays known.
    #[inline]
    pub fn clear(&self, interest: Interest) {
        self.0.clear(interest);
    }

    /// Has the reactor forget a socket that stays open.
    ///
    /// # Errors
    /// When the socket is not the one it was made for.
    pub fn release(self, socket: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.0.home.epoll, socket)?)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let token = self.0.token();
        let removed = HERE.try_with(|here| {
            let is_here = self.is_here();
            is_here.then(|| here.sources.borrow_mut().remove(token))
        });
        if !matches!(removed, Ok(Some(_))) {
            self.0.home.leave_note(|notes| notes.gone.push(token));
        }
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Watch").field(&self.0.token()).finish()
    }
}
