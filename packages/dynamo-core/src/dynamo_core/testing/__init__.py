"""What an engine package needs to prove itself: a scripted engine, a tiny model, running processes."""
