"""Create study/, a learner's own copy of the notebooks in nbs/, or update it.

A file that the learner has changed is never overwritten. The newer version is put beside it.
This script needs only the standard library.
"""
import hashlib
import json
import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORD = '.copied.json'  # in study/: name and digest of each file when it was copied


def sources(path):
    "Kind and source of each nonempty cell in a notebook, or None if the file can't be read as one"
    try:
        cells = json.loads(path.read_text(encoding='utf-8'))['cells']
        found = [(cell['cell_type'], ''.join(cell['source'])) for cell in cells]
    except (ValueError, KeyError, TypeError):
        return None
    return [(kind, source) for kind, source in found if source.strip()]


def is_broken(path):
    "Whether a file has a notebook's name but can't be read as a notebook"
    return path.suffix == '.ipynb' and path.exists() and sources(path) is None


def digest(path):
    "A digest of what people write: the whole file, or only the cells' sources if it is a notebook"
    if not path.exists():
        return None
    content = path.read_bytes()
    if path.suffix == '.ipynb' and not is_broken(path):
        content = json.dumps(sources(path)).encode()
    return hashlib.sha256(content).hexdigest()


def files(folder):
    "The paths of all files in `folder` except hidden ones, such as Jupyter's checkpoints"
    for path in sorted(folder.rglob('*')):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith(('.', '__')) for part in parts):
            yield path


def beside(name):
    "The name for a newer version of the file `name`, which the learner has changed"
    return Path(name).with_stem(Path(name).stem + '.new').as_posix()


class Study:
    "The learner's folder, with the record of what was copied into it"
    def __init__(self, root):
        self.course, self.folder = root/'nbs', root/'study'
        self.news = []
        self.current = set()  # names that the course uses now
        self.copied = self.read_record()

    def read_record(self):
        "The digests in the record; empty if there is no record or it can't be read"
        try:
            record = json.loads((self.folder/RECORD).read_text(encoding='utf-8'))
            return {str(name): str(value) for name, value in record.items()}
        except FileNotFoundError:
            if not self.folder.exists():
                self.news.append('Your copy of the notebooks is in study/. Change what you like: '
                                 'an update never overwrites your work.')
        except (ValueError, AttributeError):
            self.news.append(f'study/{RECORD} is damaged. So each of your files that differs from '
                             "the course's is treated as if you had changed it.")
        return {}

    def is_changed(self, name):
        "Whether the file `name` exists and differs from what was copied"
        found = digest(self.folder/name)
        return found is not None and found != self.copied.get(name)

    def has_had(self, name, new):
        "Whether the file `name` is the version `new`, or was copied from it and then changed"
        return new in (digest(self.folder/name), self.copied.get(name))

    def copy(self, path, name):
        "Copy the course's file at `path` to `name`, so that an interruption leaves no half file"
        target = self.folder/name
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f'.{target.name}.unfinished')
        shutil.copyfile(path, unfinished)
        os.replace(unfinished, target)

    def bring(self, path):
        "Copy the course's file at `path` to its place, or beside a copy that was changed"
        name = place = path.relative_to(self.course).as_posix()
        new = digest(path)
        self.current.add(place)
        while self.is_changed(place) and not self.has_had(place, new):
            place = beside(place)
            self.current.add(place)
        exists = (self.folder/place).exists()
        is_known = self.copied.get(place) == new
        self.copied[place] = new
        if is_known and (exists or place != name):  # put each newer version beside it only once
            return
        if digest(self.folder/place) != new:
            self.copy(path, place)
            if place != name:
                self.news.append(
                    f'The course has a newer {name}, but you have changed yours. So the newer '
                    f'version is study/{place}. To switch to it, rename or delete your copy.')

    def retire(self, name):
        "Remove a file that the course no longer has under this name, unless it was changed"
        if self.is_changed(name):
            self.news.append(f'The course has moved or removed {name}, but study/{name} stays, '
                             'because you have changed it.')
        else:
            (self.folder/name).unlink(missing_ok=True)
        del self.copied[name]

    def update(self):
        "Update all files, and return sentences about what the learner should know"
        for path in files(self.course):
            name = path.relative_to(self.course).as_posix()
            if is_broken(self.folder/name):
                self.news.append(f"study/{name} can't be read as a notebook, so it stays as it is. "
                                 'To get a new copy, rename or delete it.')
            if is_broken(path):
                self.current.add(name)
                self.news.append(f"nbs/{name} can't be read as a notebook, so it wasn't copied. "
                                 f'To restore it, type: git checkout nbs/{name}')
            else:
                self.bring(path)
        for name in sorted(self.copied.keys() - self.current):
            self.retire(name)
        record = json.dumps(self.copied, indent=1, sort_keys=True)
        (self.folder/RECORD).write_text(record, encoding='utf-8')
        return self.news


def main(root=ROOT):
    "Create or update study/, and print what the learner should know"
    for sentence in Study(root).update():
        print(sentence)


if __name__ == '__main__':
    main()
