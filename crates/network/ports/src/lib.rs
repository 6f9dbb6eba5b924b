//! The budget of local ports towards each destination: how many there are, who holds them, when they run out.
