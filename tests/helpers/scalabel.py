"""Labels and frames of a BDD100K label file."""


def label(identity="7", category="car", box=(10, 20, 30, 60), **more):
    corners = dict(zip(("x1", "y1", "x2", "y2"), box, strict=True))
    return {"id": identity, "category": category, "box2d": corners, **more}


def frame(index, *labels, video="v", **more):
    name = f"{video}-{index + 1:07d}.jpg"
    return {
        "name": name, "videoName": video, "frameIndex": index, "labels": list(labels), **more,
    }  # fmt: skip
