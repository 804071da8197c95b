"""Settings of language models and of Hugging Face's tasks, which the HTTP service and the worker have."""

from dataclasses import dataclass

from pgembedd.settings.field import setting


@dataclass(frozen=True)
class LanguageSettings:
    """Without `language_host` no text is sent to a language model, and without `tasks_host` none to Hugging Face."""

    language_host: str = setting(
        "", "URL of the language model's server; none: requests for one are refused.", fallback="AI_INFERENCE_API_HOST"
    )
    language_mode: str = setting(
        "ollama",
        "Protocol of that server: `ollama`, or `openaicompatible` (llamafile, llama.cpp, vLLM, OpenAI).",
        choices=("ollama", "openaicompatible"),
    )
    language_model: str = setting("mistral", "Language model that answers requests that name none.")
    language_key_file: str = setting("", "File with the key that the language model's server asks for.")
    language_timeout_s: float = setting(
        60.0, "Seconds to connect to that server, and between two parts of an answer.", bounds=(0.1, 3_600)
    )
    language_total_timeout_s: float = setting(
        600.0, "Seconds that a whole answer may take; it is cut off then.", bounds=(0.1, 86_400)
    )
    language_max_prompt_kb: int = setting(256, "Largest prompt, in KB.", bounds=(1, 1_000_000))
    language_max_answer_kb: int = setting(
        4096, "Most KB that the server may send for an answer; it is cut off then.", bounds=(1, 1_000_000)
    )
    language_at_once: int = setting(
        8, "Answers and tasks in progress at a time; further requests are refused.", bounds=(1, 10_000)
    )
    language_context_tokens: int = setting(
        4096,
        "Tokens that the language model reads, prompt and answer together; where its server says fewer, those.",
        bounds=(512, 10_000_000),
    )
    language_max_answer_tokens: int = setting(
        512, "Most tokens of an answer from a table; it is cut off then.", bounds=(16, 1_000_000)
    )
    tasks_host: str = setting(
        "",
        "`huggingface`, or the URL of a server with its protocol, for /api/v1/tasks; none: such requests are refused.",
    )
    tasks_models: str = setting(
        "", "Models of tasks whose requests name none: `summarization=facebook/bart-large-cnn,...`."
    )
