//! The steps that the model and the pool take.

#![allow(unreachable_pub)]

use proptest::prelude::*;

/// Parts of the stock.
pub const SHARDS: usize = 2;

/// How long a session may live.
pub const LIFETIME_MS: u64 = 400;

/// What callers and owners do to a pool.
#[derive(Clone, Debug)]
pub enum Step {
    Checkout { shard: usize },
    TryCheckout { shard: usize },
    PollWaiter { which: usize },
    DropWaiter { which: usize },
    Fill { which: usize },
    DropPermit { which: usize },
    GiveBack { which: usize, shard: usize, keep_ms: u64 },
    Close { which: usize },
    DropLent { which: usize },
    Detach { which: usize },
    Spoil { which: usize },
    TakeIdle { which: usize },
    Pass { ms: u64 },
    Sweep,
    CloseAll,
    SetMaxOpen { max_open: usize },
    SetNeeded { needed: usize },
}

pub fn step() -> impl Strategy<Value = Step> {
    let which = 0..64usize;
    let shard = 0..SHARDS;
    prop_oneof![
        6 => shard.clone().prop_map(|shard| Step::Checkout { shard }),
        2 => shard.clone().prop_map(|shard| Step::TryCheckout { shard }),
        4 => which.clone().prop_map(|which| Step::PollWaiter { which }),
        2 => which.clone().prop_map(|which| Step::DropWaiter { which }),
        5 => which.clone().prop_map(|which| Step::Fill { which }),
        1 => which.clone().prop_map(|which| Step::DropPermit { which }),
        10 => (which.clone(), shard, 1..2 * LIFETIME_MS)
            .prop_map(|(which, shard, keep_ms)| Step::GiveBack { which, shard, keep_ms }),
        1 => which.clone().prop_map(|which| Step::Close { which }),
        1 => which.clone().prop_map(|which| Step::DropLent { which }),
        1 => which.clone().prop_map(|which| Step::Detach { which }),
        1 => which.clone().prop_map(|which| Step::Spoil { which }),
        1 => which.prop_map(|which| Step::TakeIdle { which }),
        5 => (0..100u64).prop_map(|ms| Step::Pass { ms }),
        4 => Just(Step::Sweep),
        1 => Just(Step::CloseAll),
        1 => (0..5usize).prop_map(|max_open| Step::SetMaxOpen { max_open }),
        1 => (0..5usize).prop_map(|needed| Step::SetNeeded { needed }),
    ]
}
