"""The addresses of the course, and the texts that depend on them

    python docs/places.py

README.md, nbs/index.ipynb and the first code cell of each notebook depend on `published` in
settings.ini. This script updates them, so run it after a change of settings.ini or of the texts
below. docs/build.py imports `Places` for the links of the site.
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
    "The addresses in `root`/settings.ini, and whether they exist yet (`published`)"
    def __init__(self, root=ROOT):
        config = ConfigParser(delimiters=['='])
        config.read(Path(root)/'settings.ini', encoding='utf-8')
        self.settings = config['DEFAULT']
        self.published = self.settings.getboolean('published')
        self.git_url = self.settings['git_url']
        self.site = self.settings['doc_host'] + self.settings['doc_baseurl'] + '/'

    def source(self, path):
        "The address that shows the file at `path` in the repository"
        return f"{self.git_url}/blob/{self.settings['branch']}/{path}"

    def hosts(self, path):
        "Markdown links that open the notebook at `path` in the repository on each host"
        links = [f'[{name}]({url.format(path=path, **self.settings)})' for name, url in HOSTS.items()]
        return ', '.join(links[:-1]) + ' or ' + links[-1]

    def commands(self):
        "The commands that start the course, one a line"
        if not self.published:
            return ['make study']
        return [f'git clone {self.git_url}', f"cd {self.settings['repo']}", 'make study']


# --- texts that depend on the addresses

def readme_start(places):
    "The lines of README.md that say how to start"
    commands = '\n'.join('    ' + command for command in places.commands())
    if not places.published:
        return f'Clone the course or unpack a copy of it. To open it, type this in its folder:\n\n{commands}\n'
    return (f'You can read the course [as a site]({places.site}). You can run it in your browser, '
            f"without installing anything, on {places.hosts('nbs/index.ipynb')}. To run it on your "
            f'own machine, type:\n\n{commands}\n')


def index_start(places):
    "The lines of nbs/index.ipynb that say how to start"
    commands = '\n'.join(['```', *places.commands(), '```'])
    before = '' if places.published else "Type this in the course's folder:\n\n"
    readme, sites = "README.md in the course's folder", ''
    if places.published:
        readme = f'The [README]({places.git_url}#without-make-as-on-windows)'
        sites = (' To try a chapter without installing anything, use the links to Colab, Kaggle and '
                 f"Binder at the top of its page on [the course's site]({places.site}).")
    return (f'{before}{commands}\n\n'
            'This opens the course in JupyterLab. It needs make and Python 3.10 to 3.14, and takes a '
            'few minutes the first time, because it installs the packages and downloads the ratings. '
            'The notebooks that you see are a copy in the folder `study`. That copy is yours, and an '
            'update of the course never overwrites what you changed. `make test` runs every notebook '
            f'and all tests. {readme} has the commands for Windows, and for Linux without a GPU.'
            f'{sites}\n')


def replace_block(text, new):
    "Replace what is between the two comments in `text` by `new`"
    return BLOCK.sub(lambda found: found[1] + new + found[2], text)


def get_course_cell(places, home):
    "A cell that installs the course on Colab, Kaggle and Binder and changes to its folder `home`"
    source = CELL.replace('GIT_URL', places.git_url).replace('HOME', home)
    return {'cell_type': 'code', 'execution_count': None, 'id': CELL_ID,
            'metadata': {'jupyter': {'source_hidden': True}}, 'outputs': [],
            'source': source.splitlines(keepends=True)}


def set_cell(nb, places, home):
    "Put that cell before the first code cell of `nb` if the course is published, else remove it"
    nb['cells'] = [cell for cell in nb['cells'] if cell['id'] != CELL_ID]
    code = [i for i, cell in enumerate(nb['cells']) if cell['cell_type'] == 'code']
    if places.published and code:
        nb['cells'].insert(code[0], get_course_cell(places, home))


def set_start(nb, places):
    "Update the lines of the front page `nb` that say how to start"
    for cell in nb['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type'] == 'markdown' and BLOCK.search(source):
            cell['source'] = replace_block(source, index_start(places)).splitlines(keepends=True)


def new_notebook(text, places, home):
    "The new text of a notebook file in the folder `home`, made from its old `text`"
    nb = json.loads(text)
    set_cell(nb, places, home)
    set_start(nb, places)
    if nb == json.loads(text):
        return text
    return json.dumps(nb, indent=1, ensure_ascii=False) + '\n'


def notebooks(root=ROOT):
    "The paths of all notebooks for learners, which are all but those in nbs/exercises"
    return [path for path in sorted((Path(root)/'nbs').rglob('*.ipynb'))
            if path.parent.name not in ('exercises', '.ipynb_checkpoints')]


def changes(root=ROOT):
    "Path and new text of each file that doesn't agree with settings.ini"
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
    "Update those files, and print their names"
    for path, text in changes(root):
        path.write_bytes(text.encode('utf-8'))
        print(f'wrote {path.relative_to(root)}')


if __name__ == '__main__':
    main()
