//! OpenMetrics text over the engine's own cells.
