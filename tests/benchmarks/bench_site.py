"Time what a click on the site takes: a rating on the page `Try it`, and a step of the crosstab that fills; print medians and spread"
import argparse, statistics as st, subprocess, sys, tempfile
from pathlib import Path
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT/'scripts'))
import browser as browsers

# From the event to the end of the layout that follows it. Pages redraw within the event, so nothing is left to wait for.
TIMED = """function timed(action) {
    const start = performance.now()
    action()
    document.body.getBoundingClientRect()
    return performance.now() - start
}"""
RATE = TIMED + """
const times = []
for (let n = 0; n < 10; n++) {
    const box = document.getElementById('try-input') // the movies with the most ratings
    box.value = tryIt.data.titles[n]
    times.push(['find', timed(() => box.dispatchEvent(new Event('input')))])
    times.push(['pick', timed(() => document.querySelector('#try-matches li').click())])
    times.push(['rate', timed(() => document.querySelectorAll('#try-rated li:first-child input')[n % 5].click())])
}
times.push(['forget', timed(() => document.getElementById('try-forget').click())])
"""
STEP = TIMED + """
const times = [], slider = document.getElementById('filling-step')
for (let n = 0; n <= slider.max; n++) {
    slider.value = n
    times.push(['step', timed(() => slider.dispatchEvent(new Event('input')))])
}
"""

def show(what, times):
    "Print the median and the range of `times`, in milliseconds"
    print(f'{what:60}{st.median(times):9.1f} ms  ({min(times):.1f} to {max(times):.1f}, {len(times)} times)', flush=True)

def clicks(tab, page, code, runs):
    "The times of each kind of click in `runs` fresh loads of a page"
    found = {}
    for _ in range(runs):
        tab.goto(page.as_uri())
        tab.wait_for_load_state()
        for kind, time in tab.evaluate(f'() => {{ {code} return times }}'): found.setdefault(kind, []).append(time)
    return found

def main():
    "Run from the command line"
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('site', nargs='?', type=Path, help='a folder with the built site; default: build it')
    p.add_argument('--runs', type=int, default=5)
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        site = a.site or Path(folder)/'site'
        if not a.site: subprocess.run([sys.executable, ROOT/'docs'/'build.py', site], check=True, stdout=subprocess.DEVNULL)
        browser = browsers.launch(playwright)
        if not browser: return print(browsers.MISSING)
        print(f'Chromium {browser.version}, {a.runs} loads of each page: median (range)')
        for width in (390, 1366):
            tab = browser.new_page(viewport={'width': width, 'height': 844})
            for kind, times in clicks(tab, site/'try_it.html', RATE, a.runs).items(): show(f'Try it, {width} pixels wide: {kind}', times)
            for kind, times in clicks(tab, site/'02_dot_product.html', STEP, a.runs).items(): show(f'the crosstab that fills, {width} pixels wide: {kind}', times)
            tab.close()
        browser.close()

if __name__ == '__main__': main()
