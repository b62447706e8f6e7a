"How the course reads: one word for one thing, and code that fits on a page, one statement a line"
import ast, io, json, re, tokenize

import pytest
import wings

COLUMNS = 100
READ = wings.ALL
WORDS = {  # what the course says: what it doesn't
    'movie': r'films?(?![- ]noir)', 'people, users': r'somebody|anybody',
    'the person, the reader': 'whoever|whomever', 'baseline': r'opponents?|dull rules?',
    'new user, new item': 'newcomers?', 'synthetic': 'made-up (?:people|ratings|world)'}


def cells(path, kind):
    notebook = json.loads(path.read_text(encoding='utf-8'))
    return [''.join(cell['source']) for cell in notebook['cells'] if cell['cell_type'] == kind]


def python(source):
    "A cell without the lines that only IPython understands"
    return '\n'.join('' if line.lstrip().startswith(('%', '!')) else line for line in source.splitlines())


def statements_in_one_line(source):
    "The lines in which a semicolon separates two statements; at the end it only hides an output"
    tokens = list(tokenize.generate_tokens(io.StringIO(python(source)).readline))
    ends = (tokenize.NEWLINE, tokenize.NL, tokenize.COMMENT, tokenize.ENDMARKER)
    return [token.line.strip() for token, after in zip(tokens, tokens[1:])
            if token.string == ';' and token.type == tokenize.OP and after.type not in ends]


def prose(path):
    "Markdown, and what code says to people: docstrings, comments and longer texts"
    yield from cells(path, 'markdown')
    for source in cells(path, 'code'):
        for token in tokenize.generate_tokens(io.StringIO(python(source)).readline):
            if (token.type == tokenize.COMMENT and '.check(' not in token.string) or (token.type == tokenize.STRING and ' ' in token.string):
                yield token.string
        for node in ast.walk(ast.parse(python(source))):
            if isinstance(node, ast.JoinedStr):
                yield ' '.join(part.value for part in node.values if isinstance(part, ast.Constant))


def without_quotations(text):
    return re.sub(r'https?://\S+|`[^`\n]*`|“[^”]*”|\*[^*\n]+\*|\[[^\]\n]*\]\([^)]*\)', ' ', text)


def words_we_avoid(text):
    text = without_quotations(text)
    return [(found[0], use) for use, avoid in WORDS.items() for found in re.finditer(rf'(?i)\b(?:{avoid})\b', text)]


def test_the_rules_find_what_they_are_for():
    assert statements_in_one_line('a = 1; b = 2\nplot(a);\n"x; y"\nf(a); # silent') == ['a = 1; b = 2']
    assert [use for _, use in words_we_avoid('Whoever likes a film, `film`, *film* or film noir')] == ['movie', 'the person, the reader']


@pytest.mark.parametrize('path', READ, ids=wings.name_of)
def test_code_fits_on_a_page(path):
    code = cells(path, 'code')
    assert not [line for source in code for line in source.splitlines() if len(line) > COLUMNS and not line.startswith('#| fig-')]
    assert not [line for source in code for line in statements_in_one_line(source)]


@pytest.mark.parametrize('path', READ, ids=wings.name_of)
def test_one_word_for_one_thing(path):
    assert not [found for text in prose(path) for found in words_we_avoid(text)]
