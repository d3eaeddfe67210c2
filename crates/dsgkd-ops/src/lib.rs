//! Fused forward and backward operations of transformer encoders on packed tokens.
