//! Transformer encoders in Hugging Face folders, on packed tokens.
