"""Made conversations over made documents: (question, the beginning of the sentence that answers it)."""

from typing import Final

DOCUMENTS: Final = {
    "Harbour of Lindby": (
        "The harbour of Lindby opened in 1887 after six years of work. Its breakwater is 420 metres long and built "
        "of granite. The engineer Greta Holm designed the lighthouse at its end. She was born in Ystad in 1851. "
        "Fishing boats pay a fee of 90 crowns a night. In winter the harbour closes when the ice is thicker than "
        "20 centimetres. The municipality has owned it since 1954."
    ),
    "Museum of Lindby": (
        "The museum of Lindby shows nets, boats and engines. Adults pay 7 crowns and children enter free. It "
        "opened in 1932 in an old smokehouse. In winter the museum opens at weekends only. Its director is Paul "
        "Berg, who studied in Lund. The largest boat on show is a herring drifter of 1901."
    ),
    "Bakery": (
        "The bakery of Lindby closes on Mondays. Bread leaves the oven at five in the morning. Rye is the most "
        "popular loaf and costs 4 crowns. The oven was built in 1910 and burns beech wood. Anna Ekman has run the "
        "bakery since 2003. She learned her trade in Vienna."
    ),
    "Dead letters": (
        "A message that cannot succeed becomes a dead letter with its reason. Dead letters are kept for 30 days. "
        "The command rag dead-letters replay sends them again. A replay is refused when the document has a newer "
        "revision. An operator may discard a dead letter for good."
    ),
    "Embedder": (
        "The embedder computes vectors for chunks and for queries. Queries never wait behind more than one slice "
        "of bulk work. It uses two threads with one core each. The default model has 384 dimensions. When the "
        "endpoint is away, the embedder waits and tries again with a growing delay. Its cache holds ten thousand "
        "query vectors."
    ),
    "Retention policy": (
        "Invoices are kept for ten years. Job applications are deleted six months after the decision. The data "
        "protection officer approves exceptions to the retention policy. Backups are overwritten after 35 days. "
        "Log files hold no customer names and are kept for 90 days."
    ),
    "Travel expenses": (
        "Employees book trains in second class. Flights need the approval of the department head. A day abroad is "
        "paid with 45 euros. Receipts are handed in within four weeks. Hotels may cost 120 euros a night, in "
        "London 180 euros. Mara Lenz in accounting answers questions about travel expenses."
    ),
    "Model X200 printer": (
        "The X200 prints 40 pages a minute. Its paper tray holds 550 sheets. The toner cartridge TK-88 lasts for "
        "7,000 pages. A red light means that paper is stuck behind the rear cover. The X200 weighs 21 kilograms. "
        "The warranty of the X200 runs for three years."
    ),
    "Model X300 printer": (
        "The X300 prints 60 pages a minute and in colour. The toner cartridges TK-91 last for 9,000 pages. The "
        "X300 weighs 34 kilograms. The warranty of the X300 runs for five years. It needs a socket of its own."
    ),
    # Others of the same kind, which a question that only says `it` fits as well.
    "Harbour of Norrby": (
        "The harbour of Norrby opened in 1921. Its breakwater is 260 metres long and built of concrete. The "
        "engineer Karin Strand designed its lighthouse. She was born in Malmo in 1880. Fishing boats pay a fee of "
        "60 crowns a night. In winter an icebreaker keeps it open. A cooperative of fishermen owns it."
    ),
    "Harbour of Sandvik": (
        "The harbour of Sandvik opened in 1790. Its breakwater is 95 metres long and built of timber. The "
        "lighthouse was designed by Olof Dahl. He was born in Sandvik in 1748. Fishing boats pay no fee. In winter "
        "boats are lifted out of the water. A family named Rask owns it."
    ),
    "Museum of Norrby": (
        "The museum of Norrby shows clocks and cameras. Adults pay 12 crowns. It opened in 1988 in the old town "
        "hall. In winter the museum is closed. Its director is Lena Falk, who studied in Uppsala."
    ),
    "Museum of Sandvik": (
        "The museum of Sandvik shows tools of rope makers. Adults pay 9 crowns. It opened in 1965. In winter "
        "guided tours start at noon. Its director is Jon Ness, who studied in Bergen."
    ),
    "Bakery of Norrby": (
        "The bakery of Norrby closes on Sundays. Its oven is electric. White bread is the most popular loaf. Per "
        "Lind has run the bakery since 2015. He learned his trade in Copenhagen."
    ),
    "Parser": (
        "The parser extracts text from files. It uses one child process for each document. When a file is damaged, "
        "the parser fails the document with a code. Its cache holds nothing between two documents."
    ),
    "Gateway": (
        "The gateway answers requests over HTTP. It uses one thread. When the broker is away, the gateway answers "
        "with 503. Its memory of recent writes holds twenty thousand entries. Old entries are discarded first."
    ),
    "Uploads": (
        "Uploads are kept until their document is parsed. They are sent again by the client when the connection "
        "breaks. An upload is refused when it is larger than 64 megabytes."
    ),
    "Model X100 printer": (
        "The X100 prints 25 pages a minute. Its paper tray holds 250 sheets. The X100 weighs 12 kilograms. The "
        "warranty of the X100 runs for two years. It prints black only."
    ),
    "Leave": (
        "Employees have thirty days of leave. Special leave needs the approval of human resources. Unused days are "
        "kept until March. Exceptions are approved by the head of human resources."
    ),
}

FOLLOW_UPS: Final = [
    [
        ("When did the harbour of Lindby open?", "The harbour of Lindby opened"),
        ("Who owns it?", "The municipality has owned"),
        ("How long is its breakwater?", "Its breakwater is"),
        ("And in winter?", "In winter the harbour closes"),
    ],
    [
        ("Who designed the lighthouse of Lindby?", "The engineer Greta Holm"),
        ("Where was she born?", "She was born in Ystad"),
    ],
    [
        ("What does the museum of Lindby show?", "The museum of Lindby shows"),
        ("When did it open?", "It opened in"),
        ("How much do adults pay there?", "Adults pay 7 crowns"),
        ("Who is its director?", "Its director is"),
        ("Where did he study?", "Its director is"),
        ("What about in winter?", "In winter the museum"),
    ],
    [
        ("On which day does the bakery of Lindby close?", "The bakery of Lindby closes"),
        ("Who runs it?", "Anna Ekman has run"),
        ("Where did she learn her trade?", "She learned her trade"),
    ],
    [
        ("What happens to a message that cannot succeed?", "A message that cannot succeed"),
        ("How long are they kept?", "Dead letters are kept"),
    ],
    [
        ("How long are dead letters kept?", "Dead letters are kept"),
        ("How are they sent again?", "The command rag dead-letters replay"),
        ("When is that refused?", "A replay is refused"),
        ("Can they be discarded?", "An operator may discard"),
    ],
    [
        ("What does the embedder compute?", "The embedder computes"),
        ("How many threads does it use?", "It uses two threads"),
        ("What does it do when the endpoint is away?", "When the endpoint is away"),
        ("And how large is its cache?", "Its cache holds"),
    ],
    [
        ("How long are invoices kept?", "Invoices are kept"),
        ("And job applications?", "Job applications are deleted"),
        ("And log files?", "Log files hold"),
        ("Who approves exceptions to that?", "The data protection officer"),
    ],
    [
        ("Which class do employees book on trains?", "Employees book trains"),
        ("What about flights?", "Flights need"),
        ("And hotels?", "Hotels may cost"),
    ],
    [
        ("How many pages does the X200 print in a minute?", "The X200 prints 40"),
        ("How much does it weigh?", "The X200 weighs"),
        ("How long is its warranty?", "The warranty of the X200"),
        ("And the X300's?", "The warranty of the X300"),
    ],
    [
        ("How long does the warranty of the X300 run?", "The warranty of the X300"),
        ("How much does it weigh?", "The X300 weighs"),
        ("Does it print in colour?", "The X300 prints 60"),
    ],
]
# Behind a question about something else: these stand alone, and the one before only harms.
ALONE: Final = [
    ("How long are backups kept?", "Backups are overwritten"),
    ("What does a red light on the X200 mean?", "A red light means"),
    ("Within how many weeks are receipts handed in?", "Receipts are handed in"),
    ("Which wood does the oven of the bakery burn?", "The oven was built"),
    ("How many dimensions does the default model have?", "The default model has"),
    ("How much is paid for a day abroad?", "A day abroad"),
    ("Who answers questions about travel expenses?", "Mara Lenz"),
    ("What fee do fishing boats pay?", "Fishing boats pay"),
    ("When is a replay refused?", "A replay is refused"),
    ("How long does the toner cartridge TK-91 last?", "The toner cartridges TK-91"),
]
# Written once the rules were done, and never looked at while they were changed.
UNSEEN_DOCUMENTS: Final = {
    "Onboarding": (
        "New colleagues get a laptop and a badge on their first day. The laptop is set up by the service desk "
        "within two hours. The badge opens the main entrance and the garage. A buddy shows them around for the "
        "first two weeks. Probation lasts for six months."
    ),
    "Leaving": (
        "Colleagues who leave hand in laptop and badge on their last day. The laptop is wiped within a week. The "
        "badge is switched off at midnight. An exit interview is held by human resources."
    ),
    "Heat pump HP8": (
        "The heat pump HP8 heats houses of up to 180 square metres. Its refrigerant is propane. The outdoor unit "
        "makes 42 decibels at night. Filters are cleaned twice a year. An error code E4 means that the water flow "
        "is too low."
    ),
    "Heat pump HP14": (
        "The heat pump HP14 heats houses of up to 320 square metres. Its refrigerant is carbon dioxide. The "
        "outdoor unit makes 49 decibels at night. Filters are cleaned once a year. An error code E4 means that the "
        "fan is blocked."
    ),
    "City library": (
        "The city library lends books for four weeks. Loans can be extended twice. Films are lent for one week and "
        "cost one euro. Fines are 20 cents a day. The library closes at eight in the evening. Ruth Adler founded "
        "it in 1904. She gave her own collection of maps."
    ),
    "University library": (
        "The university library lends books for eight weeks. Loans can be extended five times. Fines are one euro "
        "a day. The university library is open all night. It was founded in 1848 by Emil Vogt. He was a chemist."
    ),
    "Incident response": (
        "The person on call acknowledges an alert within ten minutes. Severe incidents are reported to the head of "
        "operations. A review is written within five days. It names causes and never people."
    ),
    "Release process": (
        "Releases happen on Tuesdays. A release is rolled back when errors rise above two percent. The release "
        "manager approves exceptions. Notes are published on the same day."
    ),
}
UNSEEN_FOLLOW_UPS: Final = [
    [
        ("What do new colleagues get on their first day?", "New colleagues get"),
        ("Who sets up the laptop?", "The laptop is set up"),
        ("And which doors does the badge open?", "The badge opens"),
        ("How long is their probation?", "Probation lasts"),
    ],
    [
        ("Which houses does the HP14 heat?", "The heat pump HP14 heats"),
        ("What is its refrigerant?", "Its refrigerant is carbon"),
        ("How loud is it at night?", "The outdoor unit makes 49"),
        ("What does error code E4 mean there?", "An error code E4 means that the fan"),
        ("How about the HP8?", "An error code E4 means that the water"),
    ],
    [
        ("For how long does the city library lend books?", "The city library lends"),
        ("And films?", "Films are lent"),
        ("Can that be extended?", "Loans can be extended twice"),
        ("What are the fines?", "Fines are 20"),
        ("Who founded it?", "Ruth Adler founded"),
        ("What did she give?", "She gave"),
    ],
    [
        ("Who founded the university library?", "It was founded in 1848"),
        ("What was his profession?", "He was a chemist"),
        ("When does it close?", "The university library is open"),
    ],
    [
        ("When do releases happen?", "Releases happen"),
        ("When are they rolled back?", "A release is rolled back"),
        ("Who approves exceptions?", "The release manager"),
        ("What happens to the notes?", "Notes are published"),
    ],
    [
        ("How soon is an alert acknowledged?", "The person on call"),
        ("And what about severe incidents?", "Severe incidents are"),
        ("When is the review written?", "A review is written"),
        ("What does it name?", "It names causes"),
    ],
]
