"""Messages that need no agent: greetings and thanks, which the orchestrator answers itself, and a bare "go on"."""

import re

from agents.keywords import split_words

#: No small talk is longer.
MAX_CHARACTERS = 80

RUSSIAN = re.compile("[а-яё]", re.IGNORECASE)

GREETINGS = """
hi|hello|hey|hiya|howdy|yo|greetings|good morning|good afternoon|good evening|good day|hi there|hello there|hey there
|hello everyone|how are you|whats up|what's up|sup
|привет|приветик|приветствую|здравствуй|здравствуйте|здорово|добрый день|доброе утро|добрый вечер|доброго дня|хай|салют
|доброго времени суток|всем привет|привет всем|ку|как дела|как ты|как жизнь
"""
THANKS = """
thanks|thank you|thank you very much|thanks a lot|many thanks|thx|ty|great|perfect|awesome|cool|nice|bye|goodbye|see you
|спасибо|спасибо большое|большое спасибо|благодарю|спс|отлично|супер|класс|круто|пока|до свидания|до встречи
"""
ABILITIES = """
who are you|what are you|what can you do|what do you do|help|help me
|кто ты|ты кто|кто вы|что ты умеешь|что умеешь|что ты можешь|что вы умеете|помощь|помоги|помогите
"""


def _phrases(text: str) -> frozenset[str]:
    return frozenset(" ".join(split_words(phrase)) for phrase in text.split("|"))


REPLIES = {
    "en": (
        (_phrases(GREETINGS), "Hello! What would you like to do?"),
        (_phrases(THANKS), "You're welcome! Let me know when there is more to do."),
        (
            _phrases(ABILITIES),
            "I'm CodeLab, an assistant inside your editor. I can write and change code, design and plan, find the "
            "causes of errors, and explain code. What would you like to do?",
        ),
    ),
    "ru": (
        (_phrases(GREETINGS), "Здравствуйте! Чем займёмся?"),
        (_phrases(THANKS), "Пожалуйста! Напишите, если понадобится что-то ещё."),
        (
            _phrases(ABILITIES),
            "Я CodeLab, помощник в вашем редакторе. Могу писать и менять код, проектировать и планировать, искать "
            "причины ошибок и объяснять код. Чем займёмся?",
        ),
    ),
}


def reply_to(text: str) -> str:
    """Return the orchestrator's own reply to a message that is only small talk, or an empty text."""
    if len(text) > MAX_CHARACTERS:
        return ""
    # "Hi! How are you?" is two phrases. Every one must be small talk, and the reply answers the last.
    parts = [" ".join(words) for part in re.split(r"[.,!?;:\n…]+", text) if (words := split_words(part))]
    language = REPLIES["ru" if RUSSIAN.search(text) else "en"]
    replies = [next((reply for phrases, reply in language if part in phrases), "") for part in parts]
    return replies[-1] if replies and all(replies) else ""


CONTINUATIONS = _phrases("""
yes|yes please|yep|yeah|ok|okay|sure|go|go on|go ahead|continue|proceed|next|do it|please do|no|nope|stop|wait|right
|correct|agreed|sounds good|looks good|lgtm|the first|the second|first|second|both|all|none|again|try again|more
|да|да пожалуйста|ага|ок|окей|хорошо|ладно|давай|давайте|продолжай|продолжайте|дальше|далее|делай|сделай|нет|не надо
|стоп|подожди|верно|правильно|согласен|согласна|подходит|первый|второй|оба|все|ещё|ещё раз|попробуй ещё раз
""")


def is_continuation(text: str) -> bool:
    """Return whether a message only tells the agent to go on, or answers it in a word."""
    return len(text) <= MAX_CHARACTERS and " ".join(split_words(text)) in CONTINUATIONS
