//! The CNB lifecycle, one file for each phase
