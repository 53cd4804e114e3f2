"""The head's page in a real browser: what it shows, that it keeps up, and who may see it."""

import json
import re
import shutil

import pytest

pytestmark = pytest.mark.timeout(120)

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (PyPI: playwright)")

#: Milliseconds that a browser may take to show something on a loaded machine.
PATIENCE_MS = 30_000


@pytest.fixture(scope="module")
def browser():
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium here (Debian: chromium)")
    with sync_api.sync_playwright() as playwright:
        # Its sandbox wants a user other than root; the pages are this test's own.
        made = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield made
        made.close()


@pytest.fixture
def page(browser):
    """An empty tab; whatever goes wrong in it fails the test."""
    context = browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    tab = context.new_page()
    wrong = []
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    yield tab
    context.close()
    assert not wrong


def row(page, section, text):
    """The row of a section's table that contains text."""
    return page.locator(f"#{section} tr", has_text=text)


def shows(page, section, text, state):
    """Waits until the row of text tells that state."""
    sync_api.expect(row(page, section, text).locator(".pill", has_text=re.compile(f"^{state}$"))).to_have_count(
        1, timeout=PATIENCE_MS
    )


def enter(page, token):
    """Gives the page a token."""
    page.get_by_label("token").fill(token)
    page.get_by_role("button").click()


def token_of(cluster):
    """What the page asks for."""
    said = cluster.ray("get-auth-token")
    assert said.returncode == 0, said.stderr
    return said.stdout.strip()


def address_of(cluster):
    """The page's address, as a driver is told it."""
    status, out, err = cluster.drive("import json, ray\nprint(json.dumps(ray.init().dashboard_url))")
    assert status == 0, out + err
    url = json.loads(out.splitlines()[-1])
    return url if url.startswith("http") else f"http://{url}"


def test_the_page_keeps_up_with_the_cluster(cluster, page):
    driver = cluster.spawn(
        """
        import sys, time
        import ray

        ray.init()

        @ray.remote(num_cpus=0.5)
        class Counter:
            def ready(self):
                return True

        @ray.remote(resources={"unobtainium": 3}, name="<img src=x onerror=alert(1)>")
        def waits():
            pass

        counter = Counter.options(name="tally").remote()
        ray.get(counter.ready.remote())
        ref = waits.remote()
        print("up", flush=True)
        time.sleep(600)
        """
    )
    try:
        assert driver.stdout.readline() == "up\n"
        page.goto(address_of(cluster))
        enter(page, token_of(cluster))
        shows(page, "nodes", "(head)", "ALIVE")
        shows(page, "actors", "tally", "ALIVE")
        shows(page, "jobs", driver.args[-1], "RUNNING")
        sync_api.expect(page.locator("#resources")).to_contain_text("0.5 / 2", timeout=PATIENCE_MS)
        # A name is text, whatever it looks like; the reason is that of `ray why`.
        waiting = page.locator("#demands tr", has_text="<img src=x")
        sync_api.expect(waiting).to_contain_text("unobtainium: 3", timeout=PATIENCE_MS)
        assert page.locator("#demands img, #tasks img").count() == 0

        # Nobody loads it again: the end of the driver, of its actor and of its task are seen by themselves.
        driver.kill()
        driver.wait()
        sync_api.expect(row(page, "actors", "tally")).to_have_count(0, timeout=PATIENCE_MS)
        sync_api.expect(page.locator("#demands")).to_have_text("Nothing waits.", timeout=PATIENCE_MS)
        sync_api.expect(row(page, "jobs", driver.args[-1]).locator(".pill")).not_to_have_text(
            "RUNNING", timeout=PATIENCE_MS
        )
    finally:
        driver.kill()
        driver.wait()


def test_who_has_no_token_sees_nothing(cluster, page):
    page.goto(address_of(cluster))
    page.get_by_label("token").wait_for()
    assert not page.locator("#app").is_visible()
    enter(page, "something else")
    sync_api.expect(page.locator("#why")).to_have_text("This is not the token.", timeout=PATIENCE_MS)
    token = token_of(cluster)
    enter(page, token)
    shows(page, "nodes", "(head)", "ALIVE")
    assert not page.locator("#login").is_visible()
    # The browser keeps it, the address does not show it.
    page.reload()
    shows(page, "nodes", "(head)", "ALIVE")
    assert token not in page.url
