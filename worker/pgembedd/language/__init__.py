"""Language models: a session over a server that speaks Ollama's or OpenAI's protocol; Hugging Face's tasks.

No model runs in this process.
"""

from pgembedd.language.endpoint import Endpoint, Mode
from pgembedd.language.generation import Generation
from pgembedd.language.parts import GenerationPart
from pgembedd.language.session import LanguageSession, RunOptions, Stream

__all__ = ["Endpoint", "Generation", "GenerationPart", "LanguageSession", "Mode", "RunOptions", "Stream"]
