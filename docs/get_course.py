#| hide
# This cell installs the course on Colab, Kaggle and Binder. It does nothing on any other machine.
def get_course(address='GIT_URL', home='HOME'):
    "Clone and install the course if it is missing, and change to the folder of this notebook"
    import os, subprocess, sys
    from importlib.util import find_spec
    from pathlib import Path

    class NotInstalled(Exception):
        "An error that Jupyter shows without a traceback"
        def _render_traceback_(self):
            return [str(self)]

    def run(*command):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            said = [o for o in done.stderr.splitlines() if o.lower().startswith(('fatal', 'error'))]
            todo = 'Run this cell again to retry.'
            if 'KAGGLE_KERNEL_RUN_TYPE' in os.environ:
                todo = "Switch on Internet in the notebook's settings, then run this cell again."
            raise NotInstalled('\n'.join(["The course can't be installed.", *said[-1:], todo]))

    if {'COLAB_RELEASE_TAG', 'KAGGLE_KERNEL_RUN_TYPE', 'BINDER_LAUNCH_HOST'}.isdisjoint(os.environ):
        return
    here = Path.cwd()  # inside the course on Binder, or if this cell has already run
    above = [folder for folder in here.parents if (folder/'nbs'/'course.mplstyle').exists()]
    folder = above[0] if above else here/'collab_course'
    if not folder.exists():
        print('Installing the course, which takes a minute or two')
        run('git', 'clone', '-q', '--depth', '1', address, str(folder))
    package = find_spec('collab_course')
    if package is None or package.origin is None:  # a folder that only has that name has no origin
        run(sys.executable, '-m', 'pip', 'install', '-q', str(folder))
    os.chdir(folder/home)

get_course()
