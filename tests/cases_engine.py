"""What trial cases from outside call: what loading a data set gives, and what becomes of an upload, as plain values."""

from ddpm_app.config import from_dict
from ddpm_app.data.image_dataset import load
from ddpm_app.data.upload import import_upload
from ddpm_app.errors import Problem
from ddpm_app.i18n import problem_text


def look(settings):
    """Count, names, labels (the name of each or None), label_names, captions, left_out [[name, reason]], pixel (the upper left of each
    picture), peak (its brightest value), problem (the sentence, or None)."""
    nothing = dict(
        problem=None, count=0, names=[], labels=None, label_names=None, captions=None, left_out=[], pixel=[], peak=[]
    )
    try:
        dataset = load(from_dict(settings))
    except Problem as problem:
        return nothing | dict(problem=problem_text(problem))
    labels = dataset.labels and [None if k is None or k < 0 else dataset.label_names[k] for k in dataset.labels]
    return nothing | dict(
        count=len(dataset),
        names=list(dataset.names),
        labels=labels,
        label_names=dataset.label_names and list(dataset.label_names),
        captions=dataset.captions and list(dataset.captions),
        left_out=[list(map(str, rejected)) for rejected in dataset.rejected],
        pixel=[image[0, 0].tolist() for image in dataset.images],
        peak=[int(image.max()) for image in dataset.images],
    )


def upload(files, into):
    """(folder or None, sentence or None)."""
    try:
        return str(import_upload(files, into)), None
    except Problem as problem:
        return None, problem_text(problem)
