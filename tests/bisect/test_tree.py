"""The source tree: what cannot be bisected, and that the user's checkout stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from rig.bisect import tree

from .conftest import Repository


@pytest.fixture
def two(repository: Repository) -> Repository:
    repository.commit("one")
    repository.commit("two")
    return repository


def test_revisions(two: Repository) -> None:
    assert tree.commit(two.path, "HEAD~1") == two.commits["one"]
    assert tree.described(two.path, "HEAD").endswith("Nobody: two")
    tree.check(two.path, two.commits["one"], two.commits["two"])


@pytest.mark.parametrize("revision", ["v99.0", "--help", "HEAD~9", ""])
def test_a_revision_that_is_none(two: Repository, revision: str) -> None:
    with pytest.raises(tree.BadTree, match="has no commit"):
        tree.commit(two.path, revision)


def test_no_checkout(tmp_path: Path) -> None:
    with pytest.raises(tree.BadTree, match="no folder"):
        tree.commit(tmp_path / "nowhere", "HEAD")
    with pytest.raises(tree.BadTree, match="no git checkout"):
        tree.commit(tmp_path, "HEAD")


def test_ends_between_which_nothing_lies(two: Repository) -> None:
    one, last = two.commits["one"], two.commits["two"]
    with pytest.raises(tree.BadTree, match="are the same commit"):
        tree.check(two.path, one, one)
    with pytest.raises(tree.BadTree, match=r"exchange them; .* --gone"):
        tree.check(two.path, last, one)
    two.git("checkout", "--quiet", "--orphan", "other")
    with pytest.raises(tree.BadTree, match="no common ancestor"):
        tree.check(two.path, one, two.commit("elsewhere"))


def test_a_dirty_tree(two: Repository) -> None:
    (two.path / "untracked").touch()
    tree.check(two.path, two.commits["one"], two.commits["two"])
    (two.path / "start").write_text("changed")
    with pytest.raises(tree.BadTree, match=r"changes that are in no commit \(start\)"):
        tree.check(two.path, two.commits["one"], two.commits["two"])


def test_a_worktree_leaves_nothing_behind(two: Repository, own_cache: Path) -> None:
    before = two.state()
    hook = two.path / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ntouch hooked\n")
    hook.chmod(0o755)
    with tree.Worktree(two.path, own_cache, two.commits["one"]) as worktree:
        assert list(worktree.path.iterdir()) == [worktree.path / ".git"], "nothing is checked out yet"
        tree.check_out(worktree.path, two.commits["one"])
        assert "# one" in (worktree.path / "start").read_text()
        assert not (worktree.path / "hooked").exists()
        worktree.bisect("start", "--no-checkout", two.commits["two"], two.commits["one"])
    assert two.state() == before
    assert list(own_cache.iterdir()) == []


def test_the_worktree_of_a_killed_bisection_is_removed_and_that_of_a_living_one_is_not(
    two: Repository, own_cache: Path
) -> None:
    before = two.state()
    killed = tree.Worktree(two.path, own_cache, "HEAD")
    killed._lock.release()  # as the kernel does when its process ends
    with tree.Worktree(two.path, own_cache, "HEAD") as living:
        assert not killed.work.exists()
        with tree.Worktree(two.path, own_cache, "HEAD"):
            assert living.path.exists()
    assert two.state() == before


def test_variables_of_a_hook_do_not_lead_elsewhere(
    two: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert tree.commit(two.path, "main") == two.commits["two"]
