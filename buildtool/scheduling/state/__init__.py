"""What the scheduler knows while it decides: open requests and builds, servers, queues, and a journal that can undo."""
