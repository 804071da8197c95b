"""Language models: requests to their server, and chats over tables."""
