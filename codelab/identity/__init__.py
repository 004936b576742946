"""Who is calling, and what they may do: tokens, API keys, sign-in, limits. Sessions see a `Caller` and no more."""
