"""Ways of running a job behind one interface; each is imported only when chosen."""
