"""What the tests share: real servers, a provider that follows OpenAI's protocol, and one that breaks HTTP."""
