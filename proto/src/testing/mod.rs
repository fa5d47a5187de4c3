//! Fake network, manual clock and seeded faults for tests and the simulator.
