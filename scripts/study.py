"""Make study/, a learner's own copy of the notebooks in nbs/, or bring it up to date.

What the learner changed is never overwritten: a newer version from the course is put beside it.
Needs only the standard library.
"""
import hashlib
import json
import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORD = '.copied.json'  # in study/: name and digest of each file, as the course last put it there


def sources(path):
    "Kind and source of each cell in a notebook that isn't empty, or None if it can't be read"
    try:
        cells = json.loads(path.read_text(encoding='utf-8'))['cells']
        found = [(cell['cell_type'], ''.join(cell['source'])) for cell in cells]
    except (ValueError, KeyError, TypeError):
        return None
    return [(kind, source) for kind, source in found if source.strip()]


def is_broken(path):
    "Whether a file should be a notebook and can't be read as one"
    return path.suffix == '.ipynb' and path.exists() and sources(path) is None


def digest(path):
    "A digest of what people write: all of a file, but of a notebook only the cells' sources"
    if not path.exists():
        return None
    content = path.read_bytes()
    if path.suffix == '.ipynb' and not is_broken(path):
        content = json.dumps(sources(path)).encode()
    return hashlib.sha256(content).hexdigest()


def files(folder):
    "All files in `folder` but hidden ones, such as Jupyter's checkpoints"
    for path in sorted(folder.rglob('*')):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith(('.', '__')) for part in parts):
            yield path


def beside(name):
    "Where a newer version goes when the file `name` belongs to the learner"
    return Path(name).with_stem(Path(name).stem + '.new').as_posix()


class Study:
    "The learner's folder, and the record of what was copied into it"
    def __init__(self, root):
        self.course, self.folder = root/'nbs', root/'study'
        self.news = []
        self.current = set()  # names that the course has a use for today
        self.copied = self.read_record()

    def read_record(self):
        "The digests in the record; none if there is no record, or none that can be read"
        try:
            record = json.loads((self.folder/RECORD).read_text(encoding='utf-8'))
            return {str(name): str(value) for name, value in record.items()}
        except FileNotFoundError:
            if not self.folder.exists():
                self.news.append('Your copy of the notebooks is in study/. Change what you like: '
                                 'an update never overwrites your work.')
        except (ValueError, AttributeError):
            self.news.append(f'study/{RECORD} is damaged, so every file there that differs from '
                             "the course's counts as changed by you.")
        return {}

    def is_changed(self, name):
        "Whether the file `name` is there and isn't what the course put there"
        found = digest(self.folder/name)
        return found is not None and found != self.copied.get(name)

    def has_had(self, name, new):
        "Whether the file `name` is the version `new`, or was before the learner changed it"
        return new in (digest(self.folder/name), self.copied.get(name))

    def copy(self, path, name):
        "Copy the course's file at `path`, in one step"
        target = self.folder/name
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f'.{target.name}.unfinished')
        shutil.copyfile(path, unfinished)
        os.replace(unfinished, target)

    def bring(self, path):
        "Bring the course's file at `path`: to its place, or beside a copy that was changed"
        name = place = path.relative_to(self.course).as_posix()
        new = digest(path)
        self.current.add(place)
        while self.is_changed(place) and not self.has_had(place, new):
            place = beside(place)
            self.current.add(place)
        exists = (self.folder/place).exists()
        is_known = self.copied.get(place) == new
        self.copied[place] = new
        if is_known and (exists or place != name):  # a newer version is put beside only once
            return
        if digest(self.folder/place) != new:
            self.copy(path, place)
            if place != name:
                self.news.append(
                    f'The course has a newer {name}, and you changed yours, so the newer one is '
                    f'beside it: study/{place} (to switch to it, rename or delete your copy).')

    def retire(self, name):
        "Remove a file that the course no longer has under this name, unless it was changed"
        if self.is_changed(name):
            self.news.append(f'The course no longer has {name}, or has it elsewhere; '
                             f'study/{name} stays, because you changed it.')
        else:
            (self.folder/name).unlink(missing_ok=True)
        del self.copied[name]

    def update(self):
        "Bring all files up to date; sentences about what the learner should know"
        for path in files(self.course):
            name = path.relative_to(self.course).as_posix()
            if is_broken(self.folder/name):
                self.news.append(f"study/{name} can't be read as a notebook: it is left as it is "
                                 '(to get a new copy, rename or delete it).')
            if is_broken(path):
                self.current.add(name)
                self.news.append(f"nbs/{name} can't be read as a notebook, so it wasn't copied "
                                 f'(to get it back: git checkout nbs/{name}).')
            else:
                self.bring(path)
        for name in sorted(self.copied.keys() - self.current):
            self.retire(name)
        record = json.dumps(self.copied, indent=1, sort_keys=True)
        (self.folder/RECORD).write_text(record, encoding='utf-8')
        return self.news


def main(root=ROOT):
    "Make or update study/, and say what the learner should know"
    for sentence in Study(root).update():
        print(sentence)


if __name__ == '__main__':
    main()
