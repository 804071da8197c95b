"""Settings of language models and of Hugging Face's tasks, which the HTTP service and the worker have."""

from dataclasses import dataclass

from pgembedd.settings.field import setting


@dataclass(frozen=True)
class LanguageSettings:
    """Without `language_host` no text is sent to a language model, and without `tasks_host` none to Hugging Face."""

    language_host: str = setting(
        "", "AI_INFERENCE_API_HOST", "URL of the language model's server; none: requests for one are refused."
    )
    language_mode: str = setting(
        "ollama",
        "PGEMBEDD_LANGUAGE_MODE",
        "Protocol of that server: `ollama`, or `openaicompatible` (llamafile, llama.cpp, vLLM, OpenAI).",
        choices=("ollama", "openaicompatible"),
    )
    language_model: str = setting(
        "mistral", "PGEMBEDD_LANGUAGE_MODEL", "Language model that answers requests that name none."
    )
    language_key_file: str = setting(
        "", "PGEMBEDD_LANGUAGE_KEY_FILE", "File with the key that the language model's server asks for."
    )
    language_timeout_s: float = setting(
        60.0,
        "PGEMBEDD_LANGUAGE_TIMEOUT_S",
        "Seconds to connect to that server, and between two parts of an answer.",
        bounds=(0.1, 3_600),
    )
    language_total_s: float = setting(
        600.0,
        "PGEMBEDD_LANGUAGE_TOTAL_S",
        "Seconds that a whole answer may take; it is cut off then.",
        bounds=(0.1, 86_400),
    )
    language_max_prompt_kb: int = setting(
        256, "PGEMBEDD_LANGUAGE_MAX_PROMPT_KB", "Largest prompt, in KB.", bounds=(1, 1_000_000)
    )
    language_max_answer_kb: int = setting(
        4096,
        "PGEMBEDD_LANGUAGE_MAX_ANSWER_KB",
        "Most KB that the server may send for an answer; it is cut off then.",
        bounds=(1, 1_000_000),
    )
    language_at_once: int = setting(
        8,
        "PGEMBEDD_LANGUAGE_AT_ONCE",
        "Answers and tasks in progress at a time; further requests are refused.",
        bounds=(1, 10_000),
    )
    language_context_tokens: int = setting(
        4096,
        "PGEMBEDD_LANGUAGE_CONTEXT_TOKENS",
        "Tokens that the language model reads, prompt and answer together; where its server says fewer, those.",
        bounds=(512, 10_000_000),
    )
    language_answer_tokens: int = setting(
        512,
        "PGEMBEDD_LANGUAGE_ANSWER_TOKENS",
        "Most tokens of an answer from a table; it is cut off then.",
        bounds=(16, 1_000_000),
    )
    tasks_host: str = setting(
        "",
        "PGEMBEDD_TASKS_HOST",
        "`huggingface`, or the URL of a server with its protocol, for /tasks; none: such requests are refused.",
    )
    tasks_models: str = setting(
        "",
        "PGEMBEDD_TASKS_MODELS",
        "Models of tasks whose requests name none: `summarization=facebook/bart-large-cnn,...`.",
    )
