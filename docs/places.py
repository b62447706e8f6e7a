"""Where the course can be read and run, from settings.ini; as a script, write it where it is told

    python docs/places.py

README.md, nbs/index.ipynb and the first code cell of each chapter depend on `published`: run this
after a change of settings.ini. docs/build.py asks here for the links of the site.
"""
import json, re
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CELL_ID = 'get-course'
CELL = (Path(__file__).parent/'get_course.py').read_text(encoding='utf-8').rstrip('\n')
BLOCK = re.compile('(<!-- start: .*? -->\n).*?(<!-- end -->)', re.DOTALL)
HOSTS = {
    'Colab': 'https://colab.research.google.com/github/{user}/{repo}/blob/{branch}/{path}',
    'Kaggle': 'https://kaggle.com/kernels/welcome?src={git_url}/blob/{branch}/{path}',
    'Binder': 'https://mybinder.org/v2/gh/{user}/{repo}/{branch}?urlpath=lab/tree/{path}',
}


class Places:
    "The addresses that the settings.ini in `root` gives, if it says that they exist"
    def __init__(self, root=ROOT):
        config = ConfigParser(delimiters=['='])
        config.read(Path(root)/'settings.ini', encoding='utf-8')
        self.settings = config['DEFAULT']
        self.published = self.settings.getboolean('published')
        self.git_url = self.settings['git_url']
        self.site = self.settings['doc_host'] + self.settings['doc_baseurl'] + '/'

    def source(self, path):
        "Where the file at `path` in the repository is shown"
        return f"{self.git_url}/blob/{self.settings['branch']}/{path}"

    def hosts(self, path):
        "Links, in Markdown, to the notebook at `path` in the repository on each host"
        links = [f'[{name}]({url.format(path=path, **self.settings)})' for name, url in HOSTS.items()]
        return ', '.join(links[:-1]) + ' or ' + links[-1]

    def commands(self):
        "What to type to start the course"
        if not self.published:
            return ['make study']
        return [f'git clone {self.git_url}', f"cd {self.settings['repo']}", 'make study']


# --- the lines that depend on it

def readme_start(places):
    "How README.md says to start"
    commands = '\n'.join('    ' + command for command in places.commands())
    if not places.published:
        return f"To start, type this in the course's folder:\n\n{commands}\n"
    return (f'Read it [as a site]({places.site}). Run it in your browser, with nothing to install, on '
            f"{places.hosts('nbs/index.ipynb')}. Or run it on your own machine:\n\n{commands}\n")


def index_start(places):
    "How nbs/index.ipynb says to start"
    commands = '\n'.join(['```', *places.commands(), '```'])
    before = '' if places.published else "In the course's folder:\n\n"
    readme, sites = "README.md in the course's folder", ''
    if places.published:
        readme = f'The [README]({places.git_url}#without-make-as-on-windows)'
        sites = (' To try a chapter without installing anything, use the links to Colab, Kaggle and '
                 f"Binder at the top of its page on [the course's site]({places.site}).")
    return (f'{before}{commands}\n\n'
            'That needs Python 3.10 to 3.14, make, and a few minutes the first time. It installs what '
            'the course uses into a folder of its own, downloads the ratings, copies the notebooks '
            'into the folder `study`, and opens this page there in JupyterLab. That copy is yours: '
            f'an update of the course never overwrites what you changed. {readme} says how to do it '
            f'without make, as on Windows, and how to keep PyTorch small on Linux.{sites}\n')


def replace_block(text, new):
    "`text` with `new` between its two comments"
    return BLOCK.sub(lambda found: found[1] + new + found[2], text)


def get_course_cell(places, home):
    "The cell that gets the course on Colab, Kaggle and Binder, and goes to the folder `home` in it"
    source = CELL.replace('GIT_URL', places.git_url).replace('HOME', home)
    return {'cell_type': 'code', 'execution_count': None, 'id': CELL_ID,
            'metadata': {'jupyter': {'source_hidden': True}}, 'outputs': [],
            'source': source.splitlines(keepends=True)}


def set_cell(nb, places, home):
    "Have the notebook `nb` begin its code with that cell if the course is published, else not"
    nb['cells'] = [cell for cell in nb['cells'] if cell['id'] != CELL_ID]
    code = [i for i, cell in enumerate(nb['cells']) if cell['cell_type'] == 'code']
    if places.published and code:
        nb['cells'].insert(code[0], get_course_cell(places, home))


def set_start(nb, places):
    "Have the front page `nb` say how to start"
    for cell in nb['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type'] == 'markdown' and BLOCK.search(source):
            cell['source'] = replace_block(source, index_start(places)).splitlines(keepends=True)


def new_notebook(text, places, home):
    "The `text` of the file of a notebook in the folder `home`, as it should be"
    nb = json.loads(text)
    set_cell(nb, places, home)
    set_start(nb, places)
    if nb == json.loads(text):
        return text
    return json.dumps(nb, indent=1, ensure_ascii=False) + '\n'


def notebooks(root=ROOT):
    "The notebooks for learners: all but those of the makers of questions"
    return [path for path in sorted((Path(root)/'nbs').rglob('*.ipynb'))
            if path.parent.name not in ('exercises', '.ipynb_checkpoints')]


def changes(root=ROOT):
    "The files that differ from what settings.ini says, each with the text it should have"
    places, root = Places(root), Path(root)
    for path in [root/'README.md', *notebooks(root)]:
        text = path.read_text(encoding='utf-8')
        if path.suffix == '.ipynb':
            new = new_notebook(text, places, path.parent.relative_to(root).as_posix())
        else:
            new = replace_block(text, readme_start(places))
        if new != text:
            yield path, new


def main(root=ROOT):
    "Write what differs, and say which files"
    for path, text in changes(root):
        path.write_bytes(text.encode('utf-8'))
        print(f'wrote {path.relative_to(root)}')


if __name__ == '__main__':
    main()
